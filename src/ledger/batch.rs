//! Group commit: what many tasks want at the same time becomes one batch and one commit.
//!
//! One commit per call would cost fifty times as much. There is one collector a kind (accept, claim, record): while commits are
//! under way, a few at most, the wishes for the next gather. A batch that the ledger refuses is split until the bad row stands alone, so one
//! poisoned row never takes its neighbours with it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::{Accepted, ClaimWish, Claimed, Ledger, LedgerError, NewCall, Record, Recorded, Result};
use crate::limits::{COMMIT_BATCH_ENOUGH, COMMIT_BATCH_MAX, COMMIT_LINGER, COMMIT_QUEUE, COMMITS_AT_ONCE};
use crate::telemetry::Metrics;

/// A ledger whose hot path is shared by many tasks. Cheap to clone.
#[derive(Clone)]
pub struct SharedLedger {
    ledger: Arc<dyn Ledger>,
    accept: Collector<NewCall, Accepted>,
    claim: Collector<ClaimWish, Claimed>,
    record: Collector<Record, Recorded>,
    metrics: Metrics,
}

impl std::fmt::Debug for SharedLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedLedger")
    }
}

impl SharedLedger {
    /// Starts the three collectors; they end when the last clone is dropped.
    pub fn start(ledger: Arc<dyn Ledger>, metrics: &Metrics, tasks: &TaskTracker) -> Self {
        let accept = {
            let ledger = Arc::clone(&ledger);
            Collector::start("accept", metrics, tasks, move |batch: Arc<Vec<NewCall>>| {
                let ledger = Arc::clone(&ledger);
                async move { ledger.accept(&batch).await }
            })
        };
        let claim = {
            let ledger = Arc::clone(&ledger);
            Collector::start("claim", metrics, tasks, move |batch: Arc<Vec<ClaimWish>>| {
                let ledger = Arc::clone(&ledger);
                async move { ledger.claim(&batch).await }
            })
        };
        let record = {
            let ledger = Arc::clone(&ledger);
            Collector::start("record", metrics, tasks, move |batch: Arc<Vec<Record>>| {
                let ledger = Arc::clone(&ledger);
                async move { ledger.record(&batch).await }
            })
        };
        Self { ledger, accept, claim, record, metrics: metrics.clone() }
    }

    /// The ledger itself, for everything off the hot path.
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// Stores a new call; it is durable when this returns.
    ///
    /// # Errors
    /// [`LedgerError::Away`]: whether it was stored is unknown; asking again is safe if the call has a key.
    pub async fn accept(&self, call: NewCall) -> Result<Accepted> {
        self.accept.ask(call).await
    }

    /// Stores new calls that came together, in as few commits as they fit into; answers in order.
    pub async fn accept_all(&self, mut calls: Vec<NewCall>) -> Vec<Result<Accepted>> {
        let mut answers = Vec::with_capacity(calls.len());
        while !calls.is_empty() {
            let rest = calls.split_off(calls.len().min(COMMIT_BATCH_MAX));
            let part = std::mem::replace(&mut calls, rest);
            self.metrics.commit("accept", part.len());
            let commit = |batch: Arc<Vec<NewCall>>| async move { self.ledger.accept(&batch).await };
            answers.extend(commit_or_split(&commit, Arc::new(part)).await);
        }
        answers
    }

    /// Claims a call; the claim is durable when this returns.
    ///
    /// # Errors
    /// [`LedgerError::Away`]: whether it was claimed is unknown; the sweeper closes a claim that nobody knows of.
    pub async fn claim(&self, wish: ClaimWish) -> Result<Claimed> {
        self.claim.ask(wish).await
    }

    /// Writes an attempt and what comes next.
    ///
    /// # Errors
    /// [`LedgerError::Away`]: whether it was written is unknown; asking again is safe.
    pub async fn record(&self, record: Record) -> Result<Recorded> {
        self.record.ask(record).await
    }
}

/// One wish and where its answer goes.
type Wish<I, O> = (I, oneshot::Sender<Result<O>>);

/// Collects wishes of one kind and carries them out in batches.
struct Collector<I, O>(mpsc::Sender<Wish<I, O>>);

impl<I, O> Clone for Collector<I, O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: Send + Sync + Clone + 'static, O: Send + 'static> Collector<I, O> {
    fn start<C, F>(kind: &'static str, metrics: &Metrics, tasks: &TaskTracker, commit: C) -> Self
    where
        C: Fn(Arc<Vec<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(COMMIT_QUEUE);
        let metrics = metrics.clone();
        tasks.spawn(collect(kind, receiver, commit, metrics));
        Self(sender)
    }

    async fn ask(&self, input: I) -> Result<O> {
        let (answer, answered) = oneshot::channel();
        if self.0.send((input, answer)).await.is_err() {
            return Err(LedgerError::Away(sqlx::Error::PoolClosed));
        }
        answered.await.unwrap_or(Err(LedgerError::Away(sqlx::Error::WorkerCrashed)))
    }
}

async fn collect<I, O, C, F>(
    kind: &'static str,
    mut wishes: mpsc::Receiver<Wish<I, O>>,
    commit: C,
    metrics: Metrics,
) where
    I: Send + Sync + Clone + 'static,
    O: Send + 'static,
    C: Fn(Arc<Vec<I>>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Vec<O>>> + Send + 'static,
{
    let commit = Arc::new(commit);
    let under_way = Arc::new(Semaphore::new(COMMITS_AT_ONCE));
    let mut gathered = Vec::with_capacity(COMMIT_BATCH_MAX);
    let mut had_company = false;
    while wishes.recv_many(&mut gathered, COMMIT_BATCH_MAX).await > 0 {
        let idle = under_way.available_permits() == COMMITS_AT_ONCE;
        if let Some(linger) = linger(idle, had_company) {
            gather_for(linger, &mut wishes, &mut gathered).await;
        }
        // Closed only when this task has ended.
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else { return };
        fill_up(&mut wishes, &mut gathered);
        had_company = gathered.len() > 1;
        metrics.commit(kind, gathered.len());
        let batch = std::mem::replace(&mut gathered, Vec::with_capacity(COMMIT_BATCH_MAX));
        let commit = Arc::clone(&commit);
        tokio::spawn(async move {
            commit_and_answer(&*commit, batch).await;
            drop(permit);
        });
    }
}

/// How long a batch waits for company. A lone wish after a shared commit probably has company on its way; a lone one after a lone
/// one has not. While another commit is under way, a little patience makes the next one fuller and costs little time.
fn linger(idle: bool, had_company: bool) -> Option<Duration> {
    match (idle, had_company) {
        (true, false) => None,
        (true, true) => Some(COMMIT_LINGER),
        (false, _) => Some(COMMIT_LINGER * 3),
    }
}

async fn gather_for<T>(linger: Duration, wishes: &mut mpsc::Receiver<T>, gathered: &mut Vec<T>) {
    let until = tokio::time::sleep(linger);
    tokio::pin!(until);
    while gathered.len() < COMMIT_BATCH_ENOUGH {
        let room = COMMIT_BATCH_MAX - gathered.len();
        tokio::select! {
            biased;
            count = wishes.recv_many(gathered, room) => if count == 0 { return },
            () = &mut until => return,
        }
    }
}

/// Takes what has come meanwhile, without waiting.
fn fill_up<T>(wishes: &mut mpsc::Receiver<T>, gathered: &mut Vec<T>) {
    while gathered.len() < COMMIT_BATCH_MAX
        && let Ok(wish) = wishes.try_recv()
    {
        gathered.push(wish);
    }
}

async fn commit_and_answer<I, O, C, F>(commit: &C, batch: Vec<Wish<I, O>>)
where
    I: Clone,
    C: Fn(Arc<Vec<I>>) -> F,
    F: Future<Output = Result<Vec<O>>>,
{
    let (inputs, answers): (Vec<I>, Vec<_>) = batch.into_iter().unzip();
    let results = commit_or_split(commit, Arc::new(inputs)).await;
    for (answer, result) in answers.into_iter().zip(results) {
        // Whoever asked may have given up waiting; the ledger has the answer.
        let _ = answer.send(result);
    }
}

/// Commits the batch; if a row is refused, finds it by halving: at most `2 log2(n)` further commits for one bad row.
async fn commit_or_split<I, O, C, F>(commit: &C, batch: Arc<Vec<I>>) -> Vec<Result<O>>
where
    I: Clone,
    C: Fn(Arc<Vec<I>>) -> F,
    F: Future<Output = Result<Vec<O>>>,
{
    let mut answers = Vec::with_capacity(batch.len());
    let mut open = vec![batch];
    while let Some(part) = open.pop() {
        match commit(Arc::clone(&part)).await {
            Ok(outputs) => answers.extend(outputs.into_iter().map(Ok)),
            Err(LedgerError::Refused(_) | LedgerError::Corrupt(_)) if part.len() > 1 => {
                let (left, right) = part.split_at(part.len() / 2);
                open.push(Arc::new(right.to_vec()));
                open.push(Arc::new(left.to_vec()));
            }
            Err(error) => answers.extend(repeat_error(error, part.len()).map(Err)),
        }
    }
    answers
}

/// The first asker gets the error itself, the others the same kind without its source: sqlx errors cannot be cloned.
fn repeat_error(error: LedgerError, times: usize) -> impl Iterator<Item = LedgerError> {
    let copy = match &error {
        LedgerError::Refused(_) | LedgerError::Corrupt(_) => {
            || LedgerError::Refused(sqlx::Error::RowNotFound)
        }
        LedgerError::Away(_)
        | LedgerError::TooSlow
        | LedgerError::Migration(_)
        | LedgerError::Occupied(_)
        | LedgerError::BadUrl(_) => || LedgerError::Away(sqlx::Error::PoolTimedOut),
    };
    std::iter::once(error).chain(std::iter::repeat_with(copy)).take(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    async fn run(batch: Vec<u32>, bad: u32) -> (Vec<bool>, usize) {
        let commits = Mutex::new(0);
        let commit = |part: Arc<Vec<u32>>| {
            *commits.lock().unwrap() += 1;
            async move {
                if part.contains(&bad) {
                    Err(LedgerError::Refused(sqlx::Error::RowNotFound))
                } else {
                    Ok(part.to_vec())
                }
            }
        };
        let answers = commit_or_split(&commit, Arc::new(batch)).await;
        let commits = *commits.lock().unwrap();
        (answers.iter().map(Result::is_ok).collect(), commits)
    }

    #[tokio::test]
    async fn a_refused_row_stands_alone_and_answers_keep_their_order() {
        for bad in [0, 1, 77, 255] {
            let (answers, commits) = run((0..256).collect(), bad).await;
            let refused: Vec<usize> =
                answers.iter().enumerate().filter(|(_, fine)| !**fine).map(|(at, _)| at).collect();
            assert_eq!(refused, [bad as usize]);
            assert!(commits <= 17, "{commits} commits");
        }
    }

    #[tokio::test]
    async fn wishes_of_many_tasks_share_commits() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sizes);
        let collector = Collector::start(
            "test",
            &Metrics::default(),
            &TaskTracker::new(),
            move |batch: Arc<Vec<u32>>| {
                seen.lock().unwrap().push(batch.len());
                async move {
                    tokio::task::yield_now().await;
                    Ok(batch.iter().map(|number| number * 2).collect())
                }
            },
        );
        let asks = (0..500).map(|number| {
            let collector = collector.clone();
            tokio::spawn(async move { (number, collector.ask(number).await.unwrap()) })
        });
        for (number, answer) in
            futures_util::future::join_all(asks).await.into_iter().map(std::result::Result::unwrap)
        {
            assert_eq!(answer, number * 2);
        }
        assert!(sizes.lock().unwrap().len() < 100, "{:?}", sizes.lock().unwrap());
    }
}
