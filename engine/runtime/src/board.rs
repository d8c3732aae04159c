//! A value that many tasks look at. Those that wait for a change are told in the order in which they began to, so that
//! equal runs go equal ways; tokio's watch tells them in any order.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

#[derive(Debug)]
pub struct Board<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    value: Mutex<T>,
    changes: AtomicU64,
    changed: Notify,
}

/// One task's view of a board.
#[derive(Debug)]
pub struct Reader<T> {
    board: Board<T>,
    seen: u64,
}

impl<T> Clone for Board<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self { board: self.board.clone(), seen: self.seen }
    }
}

impl<T> Board<T> {
    pub fn new(value: T) -> Self {
        let (value, changes, changed) = (Mutex::new(value), AtomicU64::new(0), Notify::new());
        Self(Arc::new(Shared { value, changes, changed }))
    }

    /// A reader that has seen what is there now.
    pub fn reader(&self) -> Reader<T> {
        Reader { board: self.clone(), seen: self.changes() }
    }

    /// The value, locked.
    pub fn look(&self) -> MutexGuard<'_, T> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, value: T) {
        self.change(|known| {
            *known = value;
            true
        });
    }

    /// Tells the readers if `change` says that it has changed something.
    pub fn change(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut value = self.look();
        if change(&mut value) {
            self.0.changes.fetch_add(1, Ordering::AcqRel);
            drop(value);
            self.0.changed.notify_waiters();
        }
    }

    fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }
}

impl<T> Reader<T> {
    /// The value, locked; it may have changed since this reader last saw it, and then [`Reader::changed`] says so.
    pub fn look(&self) -> MutexGuard<'_, T> {
        self.board.look()
    }

    /// What is there now counts as seen.
    pub fn see(&mut self) -> MutexGuard<'_, T> {
        let value = self.board.look();
        self.seen = self.board.changes();
        value
    }

    /// Returns when something has changed that this reader has not seen, which then counts as seen.
    pub async fn changed(&mut self) {
        loop {
            let changed = self.board.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let changes = self.board.changes();
            if changes != self.seen {
                self.seen = changes;
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Board;

    #[tokio::test]
    async fn readers_are_told_in_the_order_in_which_they_began_to_wait() {
        let (board, told) = (Board::new(0), Board::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..100 {
            let (mut reader, told) = (board.reader(), told.clone());
            tasks.spawn(async move {
                reader.changed().await;
                told.change(|told| {
                    told.push(number);
                    true
                });
            });
            tokio::task::yield_now().await;
        }
        board.put(1);
        tasks.join_all().await;
        assert_eq!(*told.look(), (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_between_two_looks_is_told_once() {
        let board = Board::new(0);
        let mut reader = board.reader();
        board.put(1);
        board.put(2);
        reader.changed().await;
        assert_eq!(*reader.look(), 2);
        let mut other = board.reader();
        board.change(|_| false);
        for reader in [&mut reader, &mut other] {
            let told = tokio::time::timeout(std::time::Duration::ZERO, reader.changed()).await;
            assert!(told.is_err(), "nothing is new");
        }
        board.put(3);
        assert_eq!(*other.see(), 3);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, other.changed()).await.is_err());
    }
}
