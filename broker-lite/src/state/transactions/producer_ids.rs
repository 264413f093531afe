//! Producer ids, never the same one twice.
//!
//! Ids are taken from blocks. The end of a block is written to the journal before the first id of it
//! is handed out, so a crash loses at most the rest of a block (as Kafka's `ProducerIdManager`).

use std::io;

/// Ids per journal entry.
const BLOCK: i64 = 1000;

/// The ids in hand.
#[derive(Debug, Default)]
pub(super) struct ProducerIds {
    next: i64,
    reserved_until: i64,
}

impl ProducerIds {
    /// After a restart: `reserved_until` may have been handed out up to, not including, it.
    pub(super) fn resume(&mut self, reserved_until: i64) {
        self.next = reserved_until;
        self.reserved_until = reserved_until;
    }

    /// What the journal must know.
    pub(super) fn reserved_until(&self) -> i64 {
        self.reserved_until
    }

    /// The next id; `reserve` writes down up to where ids may have been handed out.
    pub(super) fn take(&mut self, reserve: impl FnOnce(i64) -> io::Result<()>) -> io::Result<i64> {
        if self.next == self.reserved_until {
            reserve(self.next + BLOCK)?;
            self.reserved_until = self.next + BLOCK;
        }
        let id = self.next;
        self.next += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_comes_twice_whenever_the_process_ends() {
        let mut written = 0;
        let mut taken = Vec::new();
        for run in 1..5 {
            let mut ids = ProducerIds::default();
            ids.resume(written);
            for _ in 0..run * 700 {
                let id = ids.take(|until| {
                    written = until;
                    Ok(())
                });
                taken.push(id.unwrap());
            }
        }
        assert!(taken.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_id_that_cannot_be_reserved_is_not_handed_out() {
        let mut ids = ProducerIds::default();
        assert!(
            ids.take(|_| Err(io::ErrorKind::StorageFull.into()))
                .is_err()
        );
        assert_eq!(ids.take(|_| Ok(())).unwrap(), 0);
    }
}
