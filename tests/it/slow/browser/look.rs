//! How somebody looks at a page: by day or at night, at a desk or on a phone, with scripts or without; and a picture.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::webdriver::WebDriver;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    Light,
    Dark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Device {
    Desk,
    /// 768 pixels: the widest window in which tables become cards.
    Tablet,
    Phone,
    /// 320 pixels: the narrowest phone, and a desk's window at 400 % (WCAG 1.4.10).
    Narrow,
}

/// A theme that the person prefers, and the size of what is in front of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Look(pub(super) Theme, pub(super) Device);

pub(super) const LOOKS: [Look; 4] = [
    Look(Theme::Light, Device::Desk),
    Look(Theme::Dark, Device::Desk),
    Look(Theme::Light, Device::Phone),
    Look(Theme::Dark, Device::Phone),
];

impl fmt::Display for Look {
    /// Also a part of a file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(theme, device) = self;
        f.write_str(match theme {
            Theme::Light => "light-",
            Theme::Dark => "dark-",
        })?;
        f.write_str(match device {
            Device::Desk => "desk",
            Device::Tablet => "tablet",
            Device::Phone => "phone",
            Device::Narrow => "narrow",
        })
    }
}

impl WebDriver {
    /// From the next page on. Nothing moves, so that each look at the page finds the same.
    pub(super) async fn look(&self, Look(theme, device): Look) {
        let theme = match theme {
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        let (width, height, scale, mobile) = match device {
            Device::Desk => (1200, 900, 1, false),
            Device::Tablet => (768, 1024, 1, true),
            Device::Phone => (390, 844, 2, true),
            Device::Narrow => (320, 568, 2, true),
        };
        let features = json!([
            { "name": "prefers-color-scheme", "value": theme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        // They are of the system's own width.
        self.devtools("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
    }

    /// Whether pages may run scripts from the next one on; what we ask the page for is not hindered.
    pub(super) async fn allow_scripts(&self, allow: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !allow })).await;
    }

    /// What is in the window, as PNG.
    pub(super) async fn window(&self) -> Vec<u8> {
        self.picture(json!({ "format": "png" })).await
    }

    /// The whole page as PNG, down to its end.
    pub(super) async fn whole_page(&self) -> Vec<u8> {
        let size = self.devtools("Page.getLayoutMetrics", json!({})).await["cssContentSize"].take();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        self.picture(json!({ "format": "png", "captureBeyondViewport": true, "clip": clip })).await
    }

    async fn picture(&self, how: Value) -> Vec<u8> {
        let taken = self.devtools("Page.captureScreenshot", how).await;
        STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }
}
