//! A TCP proxy between the service and Postgres that loses chosen messages.

use std::future::pending;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::support::{World, cluster};

/// The message to lose, together with its connection. Each read from a socket counts as one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lost {
    /// The n-th message of the service.
    Question(usize),
    /// The n-th message of Postgres. Its statement was executed.
    Answer(usize),
    /// A COMMIT, before it reaches Postgres.
    Commit,
    /// The reply to a COMMIT.
    AnswerToCommit,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    ToPostgres,
    ToService,
}

/// Reports that a BEGIN arrived, and waits for permission to continue.
type Hold = (oneshot::Sender<()>, oneshot::Receiver<()>);

struct State {
    lose: Option<Lost>,
    hold: Option<Hold>,
    /// Cuts all open connections.
    cut: CancellationToken,
    /// Drops everything on open connections without closing them.
    silence: CancellationToken,
}

pub(super) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts a proxy in front of the shared test cluster. It ends with the test's runtime.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = cluster().await.folder().join(".s.PGSQL.5432");
        let state = Arc::new(Mutex::new(State {
            lose: None,
            hold: None,
            cut: CancellationToken::new(),
            silence: CancellationToken::new(),
        }));
        let all = state.clone();
        tokio::spawn(async move {
            loop {
                let (service, _) = listener.accept().await.unwrap();
                let state = all.clone();
                let (cut, silence) = {
                    let state = state.lock().unwrap();
                    (state.cut.clone(), state.silence.clone())
                };
                let mut ends = (service, UnixStream::connect(&socket).await.unwrap());
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(&mut ends.0, &mut ends.1, &state) => {}
                        () = cut.cancelled() => {}
                        () = silence.cancelled() => cut.cancelled().await,
                    }
                });
            }
        });
        Self { port, state }
    }

    /// URL of a world's database through the proxy.
    pub(super) fn address(&self, world: &World) -> String {
        let (user, _) = world.database.split_once('@').unwrap();
        format!("{user}@127.0.0.1:{}/{}?sslmode=disable", self.port, world.database_name)
    }

    /// Loses this message once, on a connection that is not the listener's.
    pub(super) fn lose(&self, lost: Lost) {
        self.state.lock().unwrap().lose = Some(lost);
    }

    /// Stops losing messages. Returns whether one was lost.
    pub(super) fn has_lost(&self) -> bool {
        self.state.lock().unwrap().lose.take().is_none()
    }

    /// Forwards the next BEGIN to Postgres, then blocks its connection until the sender is used; forever if the sender
    /// is dropped. The receiver reports when the BEGIN arrived.
    pub(super) fn hold_begin(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((begun, told), (go_on, release)) = (oneshot::channel(), oneshot::channel());
        self.state.lock().unwrap().hold = Some((begun, release));
        (told, go_on)
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        std::mem::take(&mut state.cut).cancel();
    }

    /// Drops everything on existing connections, like a host without power. New connections work.
    pub(super) fn silence(&self) {
        let mut state = self.state.lock().unwrap();
        std::mem::take(&mut state.silence).cancel();
    }
}

/// Forwards both directions until one side closes or the message to lose appears; then closes both sides.
async fn carry(service: &mut TcpStream, postgres: &mut UnixStream, state: &Mutex<State>) {
    let (mut question, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // The first message contains the listener's application name.
    let mut listens = None;
    let mut commits = false;
    loop {
        tokio::select! {
            length = service.read(&mut question) => {
                let Ok(length @ 1..) = length else { return };
                let piece = &question[..length];
                let listens = *listens.get_or_insert_with(|| holds(piece, b"entraway listens"));
                commits = holds(piece, b"commit\0");
                if !listens && loses(state, Way::ToPostgres, commits) || postgres.write_all(piece).await.is_err() {
                    return;
                }
                let hold = holds(piece, b"begin\0").then(|| state.lock().unwrap().hold.take()).flatten();
                if let Some((begun, release)) = hold {
                    let _ = begun.send(());
                    if release.await.is_err() {
                        return pending().await;
                    }
                }
            }
            length = postgres.read(&mut answer) => {
                let Ok(length @ 1..) = length else { return };
                let piece = &answer[..length];
                if listens == Some(false) && loses(state, Way::ToService, commits) || service.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn holds(piece: &[u8], word: &[u8]) -> bool {
    piece.windows(word.len()).any(|window| window == word)
}

/// Whether to lose this message. `commits`: it is a COMMIT or the reply to one.
fn loses(state: &Mutex<State>, way: Way, commits: bool) -> bool {
    let lose = &mut state.lock().unwrap().lose;
    let now = match lose {
        Some(Lost::Question(left)) if way == Way::ToPostgres => count(left),
        Some(Lost::Answer(left)) if way == Way::ToService => count(left),
        Some(Lost::Commit) => way == Way::ToPostgres && commits,
        Some(Lost::AnswerToCommit) => way == Way::ToService && commits,
        _ => false,
    };
    if now {
        *lose = None;
    }
    now
}

fn count(left: &mut usize) -> bool {
    *left -= 1;
    *left == 0
}
