//! The one way out: an HTTP client with time-outs, without redirects, and with a bound on what it reads.

use std::time::Duration;

use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use url::{Host, Url};

/// No single exchange takes longer; Entra and Graph answer in well under a second.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A Graph page of 999 groups is about 200 KB; sixteen MB is no answer of theirs any more.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Why an exchange did not come about. Urls are left out: a query may hold what does not belong in a log.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no answer in time")]
    Timeout,
    #[error("the connection failed: {0}")]
    Connection(String),
    #[error("the answer is longer than {MAX_BODY} bytes")]
    TooLong,
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        // reqwest's own text says "error sending request"; the reason is the innermost cause.
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Connection(cause.to_string())
    }
}

/// Whether what goes to this address stays secret on the way: https, or a loopback host.
#[must_use]
pub fn keeps_secrets(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: http::StatusCode,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

/// The client that Entra and Graph are asked with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient(reqwest::Client);

impl HttpClient {
    /// Goes through the environment's proxy, if it names one; but not to a simulator on this very machine. Needs a
    /// rustls provider to be installed in the process.
    pub fn to(login_host: &Url) -> Result<Self, HttpError> {
        if is_loopback(login_host) { Self::direct() } else { Self::build(reqwest::Client::builder()) }
    }

    /// For addresses of this very machine, which a proxy could not reach.
    pub fn direct() -> Result<Self, HttpError> {
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

    /// As `send`, for who has a request of another library.
    pub async fn exchange(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let answer = read(self.0.execute(request).await?).await?;
        let mut response = http::Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    /// Sends a request and reads the whole answer, up to a bound.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, HttpError> {
        read(request.send().await?).await
    }
}

async fn read(mut response: reqwest::Response) -> Result<Answer, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
}

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = HttpError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}
