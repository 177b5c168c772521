//! Appearance of a page: theme, device size, scripts on or off; and screenshots.

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
    /// 768 pixels: the widest viewport in which tables become cards.
    Tablet,
    Phone,
    /// 320 pixels: the narrowest phone, and a desktop window at 400 % zoom (WCAG 1.4.10).
    Narrow,
}

/// Preferred theme and device size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Look(pub(super) Theme, pub(super) Device);

pub(super) const LOOKS: [Look; 4] = [
    Look(Theme::Light, Device::Desk),
    Look(Theme::Dark, Device::Desk),
    Look(Theme::Light, Device::Phone),
    Look(Theme::Dark, Device::Phone),
];

impl fmt::Display for Look {
    /// Used in file names, too.
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
    /// Sets the appearance from the next page on. Disables animations, so that results are reproducible.
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
        // Scrollbars have a system-dependent width.
        self.devtools("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
    }

    /// Allows or blocks scripts of pages from the next page on. The driver's scripts still run.
    pub(super) async fn allow_scripts(&self, allow: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !allow })).await;
    }

    /// PNG of the viewport.
    pub(super) async fn window(&self) -> Vec<u8> {
        self.picture(json!({ "format": "png" })).await
    }

    /// PNG of the whole page.
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
