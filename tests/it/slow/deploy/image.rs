//! The image that the Dockerfile builds: facts that the deployments rely on, and a run for script/image-test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::net::{TcpListener, UnixStream};

use super::file;
use crate::cli::program::{CONFIG, DATABASE_PASSWORD, Journey, Program, environment, with};
use crate::support::{World, cluster};

/// User ID of the distroless `nonroot` images.
pub(super) const UID: i64 = 65532;

/// The port that the image exposes.
pub(super) fn port() -> i64 {
    let text = file("Dockerfile");
    let port = text.lines().find_map(|line| line.strip_prefix("EXPOSE ")).expect("the Dockerfile has an EXPOSE");
    port.trim().parse().unwrap()
}

/// Path of the program and working directory, which contains config.yaml.
pub(super) fn places() -> (String, String) {
    let text = file("Dockerfile");
    assert!(text.contains(":nonroot@sha256:"), "the image no longer runs as {UID}: check deploy/ and compose.yaml");
    let last = |name: &str| text.lines().filter_map(|line| line.strip_prefix(name)).next_back().unwrap().to_owned();
    (last("COPY --from=build /entraway "), last("WORKDIR "))
}

#[test]
fn third_party_images_are_pinned_by_digest() {
    let images = |text: &str, prefix: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(prefix));
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let (base, beside) = (images(&file("Dockerfile"), "FROM "), images(&file("compose.yaml"), "image: "));
    assert_eq!((base.len(), beside.len()), (2, 3), "{base:?} {beside:?}");
    for image in base.iter().chain(beside.iter().filter(|image| *image != "entraway")) {
        let (name, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{image} has no digest"));
        assert!(digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{image}");
        let tag = name.rsplit_once('/').unwrap().1;
        assert!(tag.contains(':'), "a tag must document the digest: {image}");
    }
}

/// Runs the program with the image as read-only root, unprivileged and without new privileges. `$0` is the image.
const ENTER: &str = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
    exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$0" /entraway "$@""#;

/// Runs the image's program with these arguments in its own mount namespace.
fn command(image: &Path, args: &[&str], env: &[(&str, String)]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", ENTER]).arg(image).args(args);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// Forwards a TCP port to Postgres, because its socket is outside of the image.
async fn by_tcp(cluster: &Path) -> u16 {
    let socket = cluster.join(".s.PGSQL.5432");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut outside, _) = listener.accept().await.unwrap();
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut inside = UnixStream::connect(&socket).await.unwrap();
                // Either side may close the connection.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

/// A field of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of /proc/PID/status");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
#[ignore = "needs root and the release build: script/image-test builds it and runs this"]
async fn image_migrates_and_serves_read_only_and_unprivileged() {
    let image = PathBuf::from(std::env::var_os("ENTRAWAY_IMAGE_ROOT").expect("script/image-test runs this"));
    let config = image.join("etc/entraway/config.yaml");
    fs::write(&config, CONFIG).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let world = World::new().await;
    let (alice, _) = world.alice();
    let port = by_tcp(cluster().await.folder()).await;
    let database =
        format!("postgres://postgres:{DATABASE_PASSWORD}@127.0.0.1:{port}/{}?sslmode=disable", world.database_name);
    let env = with(environment(&world), "DB", &database);
    let args = |name| [name, "--config", "/etc/entraway/config.yaml"];

    let ended = Program::spawn(command(&image, &args("migrate"), &env)).end_within(Duration::from_secs(40)).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    // The image is built without tracing and must log that if tracing is requested.
    let asked = [env.clone(), vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1".to_owned())]].concat();
    let mut program = Program::spawn(command(&image, &args("serve"), &asked));
    let base = program.ready().await;
    let pid = program.pid();
    for (name, expected) in
        [("Uid:", "65532 65532 65532 65532"), ("Groups:", ""), ("NoNewPrivs:", "1"), ("CapEff:", "0000000000000000")]
    {
        assert_eq!(status(pid, name), expected, "{name}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).rfind(|line| line[4] == "/");
    let options = root.expect("a root mount")[5].to_owned();
    assert!(options.split(',').any(|option| option == "ro"), "the root file system is writable: {options}");

    let env = with(env, "LISTEN", &format!("127.0.0.1:{}", base.port().unwrap()));
    let health = Program::spawn(command(&image, &args("healthcheck"), &env)).end_within(Duration::from_secs(10)).await;
    assert_eq!((health.code, health.stdout.as_str()), (0, "alive\n"), "{health:?}");
    let (mut journey, answer) = Journey::whole(&world, &base, alice).await;
    assert_eq!(answer.status, 303, "{answer:#?}\n{}", program.stderr());
    let me = journey.browser.get(base.join("/api/me").unwrap()).await.json();
    assert_eq!(me["user"]["user_id"], alice.to_string(), "{me}");
    let ended = program.terminate().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stderr.matches("built without the feature otlp").count(), 1, "{ended:?}");
}
