//! The client for all outgoing HTTP: with timeouts and a body limit, without redirects.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::public_address::is_public;

/// Time limit for one exchange. Entra and Graph normally answer in well under a second.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of a response body in bytes. A Graph page of 999 groups has about 200 KB.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Why an exchange failed. Never contains a URL, because a query may hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no answer in time")]
    Timeout,
    #[error("the connection failed: {0}")]
    Connection(String),
    #[error("the response is longer than {MAX_BODY} bytes")]
    BodyTooLarge,
    /// For a client of [`HttpClient::for_public_host`].
    #[error("the host has no public address, only loopback, private or reserved ones")]
    PrivateAddress,
    #[error("the host name cannot be resolved")]
    Unresolved,
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        // reqwest's own text is only "error sending request"; the innermost cause has the reason.
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Connection(cause.to_string())
    }
}

/// Whether the URL's host is this machine: `localhost` or a loopback address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The address, if the URL's host is one and not a name.
#[must_use]
pub fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
    }
}

/// Public addresses of a host name, by the system's resolver.
///
/// # Errors
/// [`HttpError::Unresolved`], or [`HttpError::PrivateAddress`] if none of its addresses is public.
async fn public_addresses(host: &str) -> Result<Vec<SocketAddr>, HttpError> {
    let resolved = tokio::net::lookup_host((host, 0)).await.map_err(|_| HttpError::Unresolved)?;
    let public: Vec<SocketAddr> = resolved.filter(|address| is_public(address.ip())).collect();
    if public.is_empty() { Err(HttpError::PrivateAddress) } else { Ok(public) }
}

/// Whether requests of [`HttpClient::for_public_host`] can reach the URL's host. Sends nothing to it.
///
/// # Errors
/// [`HttpError::Unresolved`] or [`HttpError::PrivateAddress`].
pub async fn check_public_host(url: &Url) -> Result<(), HttpError> {
    match (literal_address(url), url.host_str()) {
        (Some(address), _) if is_public(address) => Ok(()),
        (Some(_), _) => Err(HttpError::PrivateAddress),
        (None, Some(host)) => public_addresses(host).await.map(drop),
        (None, None) => Err(HttpError::Unresolved),
    }
}

/// Resolves names to their public addresses only. The client connects to exactly the addresses that were checked.
struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Addrs = Box::new(public_addresses(name.as_str()).await?.into_iter());
            Ok(addresses)
        })
    }
}

/// A completely read response.
#[derive(Debug)]
pub struct Response {
    pub status: http::StatusCode,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

/// HTTP client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient(reqwest::Client);

impl HttpClient {
    /// Creates a client for this host. Uses the proxy that the environment names, except for a loopback host such as a
    /// simulator.
    ///
    /// The process must have installed a rustls provider.
    pub fn for_host(url: &Url) -> Result<Self, HttpError> {
        if is_loopback(url) { Self::without_proxy() } else { Self::build(reqwest::Client::builder()) }
    }

    /// Creates a client that uses no proxy, for addresses on this machine.
    pub fn without_proxy() -> Result<Self, HttpError> {
        Self::build(reqwest::Client::builder().no_proxy())
    }

    /// Creates a client that connects only to public addresses of this host. Uses no proxy, because the proxy would
    /// resolve the name.
    ///
    /// # Errors
    /// [`HttpError::PrivateAddress`] if the host is an address that is not public.
    pub fn for_public_host(url: &Url) -> Result<Self, HttpError> {
        // The resolver does not see addresses.
        if literal_address(url).is_some_and(|address| !is_public(address)) {
            return Err(HttpError::PrivateAddress);
        }
        Self::build(reqwest::Client::builder().no_proxy().dns_resolver(PublicResolver))
    }

    fn build(builder: reqwest::ClientBuilder) -> Result<Self, HttpError> {
        let client = builder
            .user_agent(concat!("entraway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .timeout(REQUEST_TIMEOUT)
            .build()?;
        Ok(Self(client))
    }

    pub fn get(&self, url: Url) -> reqwest::RequestBuilder {
        self.0.get(url)
    }

    pub fn post(&self, url: Url) -> reqwest::RequestBuilder {
        self.0.post(url)
    }

    /// Like `send`, for a request of the `http` crate.
    pub async fn execute(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let response = read(self.0.execute(request).await?).await?;
        let mut converted = http::Response::new(response.body);
        *converted.status_mut() = response.status;
        *converted.headers_mut() = response.headers;
        Ok(converted)
    }

    /// Sends a request and reads the whole response, up to `MAX_BODY` bytes.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, HttpError> {
        read(request.send().await?).await
    }

    /// Sends a request and returns the status, without reading the body of the response.
    pub async fn status(&self, request: reqwest::RequestBuilder) -> Result<http::StatusCode, HttpError> {
        Ok(request.send().await?.status())
    }
}

async fn read(mut response: reqwest::Response) -> Result<Response, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(HttpError::BodyTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
}

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = HttpError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.execute(request))
    }
}
