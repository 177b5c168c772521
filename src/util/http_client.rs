//! The client for all outgoing HTTP: with timeouts and a body limit, without redirects.

use std::time::Duration;

use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use url::{Host, Url};

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

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
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
