//! A network between the service and Postgres, which loses what it is told to.

use std::future::pending;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::support::{World, cluster};

/// What gets lost, with the connection that it was on. What comes in one piece counts as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lost {
    /// The n-th that the service sends does not arrive.
    Question(usize),
    /// The n-th that Postgres sends does not arrive; what it answers was done.
    Answer(usize),
    /// A COMMIT does not arrive.
    Commit,
    /// A COMMIT arrives, and its answer does not.
    AnswerToCommit,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    ToPostgres,
    ToService,
}

/// Says that a BEGIN arrived, and waits for the word to go on.
type Hold = (oneshot::Sender<()>, oneshot::Receiver<()>);

struct State {
    lose: Option<Lost>,
    hold: Option<Hold>,
    /// Cuts all connections that are open.
    cut: CancellationToken,
    /// Nothing arrives any more on the connections that are open, and neither end hears of it.
    silence: CancellationToken,
}

pub(super) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// In front of the Postgres of all tests; it ends with the test's runtime.
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

    /// The address of a world's database behind it.
    pub(super) fn address(&self, world: &World) -> String {
        let (user, _) = world.database.split_once('@').unwrap();
        format!("{user}@127.0.0.1:{}/{}?sslmode=disable", self.port, world.database_name)
    }

    /// From now on this gets lost, once, on a connection that does not only listen.
    pub(super) fn lose(&self, lost: Lost) {
        self.state.lock().unwrap().lose = Some(lost);
    }

    /// Nothing gets lost any more; whether something was.
    pub(super) fn has_lost(&self) -> bool {
        self.state.lock().unwrap().lose.take().is_none()
    }

    /// The next BEGIN arrives at Postgres, and then nothing passes on its connection until the second of these speaks; for
    /// ever, where that one is dropped. The first says when.
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

    /// On all connections that there are nothing arrives any more, as if the other host had no power. New ones are good.
    pub(super) fn silence(&self) {
        let mut state = self.state.lock().unwrap();
        std::mem::take(&mut state.silence).cancel();
    }
}

/// Carries what either side says until one of them ends or something is to be lost; then both are cut.
async fn carry(service: &mut TcpStream, postgres: &mut UnixStream, state: &Mutex<State>) {
    let (mut question, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // The name of the connection that listens is in the first piece.
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

/// Whether this piece is the one to lose. `commits`: it is a COMMIT, or the answer to one.
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
