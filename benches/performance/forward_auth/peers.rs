//! Alternatives and proxies for comparison: Apache with `mod_auth_openidc`, and nginx.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::header::COOKIE;

use crate::browser::{client, cookies, location};
use crate::service::Folder;
use crate::simulator::{Facts, Simulator};

/// A server with worker processes, which is stopped on drop.
struct Server {
    child: Child,
    folder: Folder,
}

impl Drop for Server {
    fn drop(&mut self) {
        // At SIGTERM, both servers stop their workers; at SIGKILL, they would leave them running.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start(folder: Folder, command: &mut Command, port: u16) -> anyhow::Result<Self> {
        let server = Self { child: command.spawn().context("failed to start the server")?, folder };
        let begin = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            ensure!(begin.elapsed() < Duration::from_secs(10), "{command:?} does not listen on its port");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Apache with a signed-in user.
pub(super) struct Apache {
    pub(super) url: String,
    pub(super) cookie: String,
    _server: Server,
}

impl Apache {
    pub(super) async fn start(entra: &Simulator) -> anyhow::Result<Self> {
        let (folder, port) = (Folder::new()?, free_port()?);
        std::fs::create_dir(folder.path().join("www"))?;
        folder.file("www/verify", "")?;
        let Facts { tenant_id, client_id, client_secret, authority_url, .. } = &entra.facts;
        let path = folder.path().display();
        // Each process has more threads than there are connections: a process whose threads are all busy would close
        // some.
        let file = folder.file(
            "apache.conf",
            &format!(
                "ServerRoot {path}\nServerName localhost\nPidFile {path}/pid\nErrorLog {path}/log\nLogLevel warn\n\
                 Listen 127.0.0.1:{port}\nUser www-data\nGroup www-data\nKeepAlive On\nMaxKeepAliveRequests 0\n\
                 ThreadsPerChild 64\nMaxRequestWorkers 256\nMaxSpareThreads 256\n\
                 LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
                 LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so\n\
                 LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
                 LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so\n\
                 LoadModule auth_openidc_module /usr/lib/apache2/modules/mod_auth_openidc.so\n\
                 DocumentRoot {path}/www\n\
                 OIDCProviderMetadataURL {authority_url}{tenant_id}/v2.0/.well-known/openid-configuration\n\
                 OIDCClientID {client_id}\nOIDCClientSecret {client_secret}\nOIDCCryptoPassphrase 0123456789\n\
                 OIDCRedirectURI http://127.0.0.1:{port}/verify/callback\nOIDCScope \"openid profile\"\n\
                 OIDCPKCEMethod S256\nOIDCSessionType server-cache\nOIDCCacheType shm\nOIDCRemoteUserClaim oid\n\
                 <Location /verify>\nAuthType openid-connect\nRequire valid-user\n</Location>\n"
            ),
        )?;
        let mut command = Command::new("/usr/sbin/apache2");
        command.args(["-DFOREGROUND", "-f"]).arg(file);
        let server = Server::start(folder, &mut command, port).await?;
        let url = format!("http://127.0.0.1:{port}/verify");
        let log = || std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
        let cookie = sign_in(entra, &url).await.with_context(log)?;
        Ok(Self { url, cookie, _server: server })
    }
}

async fn sign_in(entra: &Simulator, url: &str) -> anyhow::Result<String> {
    let client = client()?;
    let begun = client.get(url).send().await?;
    let state: Vec<String> = cookies(&begun).collect();
    let picked = client.get(entra.pick_url(&location(&begun)?.parse()?, entra.people()[0])).send().await?;
    let done = client.get(location(&picked)?).header(COOKIE, state.join("; ")).send().await?;
    let session = cookies(&done).find(|cookie| cookie.starts_with("mod_auth_openidc_session="));
    let cookie = session.with_context(|| format!("Apache created no session: {done:?}"))?;
    let status = client.get(url).header(COOKIE, &cookie).send().await?.status();
    ensure!(status == 200, "Apache rejected its own session: {status}");
    Ok(cookie)
}

/// nginx in front of one page per auth service.
pub(super) struct Nginx {
    url: String,
    _server: Server,
}

impl Nginx {
    pub(super) async fn start(service: &str, apache: &str) -> anyhow::Result<Self> {
        let (folder, port, stub) = (Folder::new()?, free_port()?, free_port()?);
        std::fs::create_dir(folder.path().join("www"))?;
        for page in ["stub", "entraway", "apache"] {
            folder.file(&format!("www/{page}"), "ok")?;
        }
        let path = folder.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {path}/{what};\n"))
            .concat();
        let host = |url: &str| url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
        let mut upstreams = String::new();
        let mut locations = String::new();
        for (name, host, path) in [
            ("stub", format!("127.0.0.1:{stub}"), "/"),
            ("entraway", host(service), "/auth/verify"),
            ("apache", host(apache), "/verify"),
        ] {
            writeln!(upstreams, "upstream {name} {{ server {host}; keepalive 32; }}")?;
            writeln!(
                locations,
                "location = /{name} {{ auth_request /ask/{name}; }}\n\
                 location = /ask/{name} {{ internal; proxy_pass http://{name}{path}; proxy_http_version 1.1; \
                 proxy_set_header Connection ''; proxy_set_header Host {host}; proxy_pass_request_body off; \
                 proxy_set_header Content-Length ''; }}"
            )?;
        }
        let file = folder.file(
            "nginx.conf",
            &format!(
                "daemon off;\nworker_processes 2;\nuser www-data;\npid {path}/pid;\nerror_log stderr warn;\n\
                 events {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\nkeepalive_requests 1000000000;\n{temporary}{upstreams}\
                 server {{ listen 127.0.0.1:{port}; root {path}/www; {locations} }}\n\
                 server {{ listen 127.0.0.1:{stub}; location / {{ return 200; }} }}\n}}\n"
            ),
        )?;
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(file);
        let server = Server::start(folder, &mut command, port).await?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), _server: server })
    }

    pub(super) fn at(&self, page: &str) -> String {
        format!("{}{page}", self.url)
    }
}
