//! Which folder a partition is in (`log.dirs`), and the making and opening of partitions there.

use std::{io, path::Path, sync::Arc};

use super::{Entries, Entry, Folder, LogConfig, Overrides, Partition, TopicPartition, Topics};

impl Topics {
    /// Makes new partitions, and notes it. Their folders come first: a crash leaves them to
    /// [`Topics::remove_leftovers`].
    pub(super) fn make_partitions(
        &self,
        journal: &mut Entries<Entry>,
        topic: &str,
        from: i32,
        to: i32,
        configs: &Overrides,
        entry: &Entry,
    ) -> io::Result<Vec<Arc<Partition>>> {
        let folders = || self.folders.iter().filter(|one| !one.is_offline());
        let clear = || {
            let each = (from..to).flat_map(|number| folders().map(move |one| (one, number)));
            let mut each = each.map(|(one, number)| one.path().join(name_of(topic, number)));
            each.try_for_each(|folder| self.host.files.remove_dir_all(&folder))
        };
        // What could not be removed of a topic that had the name before is not part of it.
        clear()?;
        let (mut homes, log) = (self.counted(), self.log_config(configs));
        let mut make = |number| {
            // As in Kafka (`LogManager.nextLogDirs`).
            let fewest = homes.iter_mut().min_by_key(|(_, count)| *count);
            let (home, count) = fewest.ok_or(io::ErrorKind::StorageFull)?;
            *count += 1;
            self.open_partition(home, topic, number, &log)
        };
        let made: io::Result<Vec<_>> = (from..to).map(&mut make).collect();
        let made = made.and_then(|made| {
            // The journal syncs the first one, which it is in.
            let mut others = folders().filter(|one| !Arc::ptr_eq(one, &self.folders[0]));
            others.try_for_each(|one| self.host.files.sync_dir(one.path()))?;
            journal.append(entry).map(|()| made)
        });
        made.inspect_err(|_| {
            // If that fails too, the next one that is made does it.
            let _cleared = clear();
        })
    }

    /// The folders that work, and how many partitions are in each.
    fn counted(&self) -> Vec<(Arc<Folder>, usize)> {
        let online = self.folders.iter().filter(|one| !one.is_offline());
        let mut counted: Vec<_> = online.map(|one| (Arc::clone(one), 0)).collect();
        for topic in self.all() {
            for partition in topic.partitions() {
                let home = counted
                    .iter_mut()
                    .find(|(home, _)| Arc::ptr_eq(home, partition.home()));
                if let Some((_, count)) = home {
                    *count += 1;
                }
            }
        }
        counted
    }

    /// All data folders.
    pub(crate) fn folders(&self) -> &[Arc<Folder>] {
        &self.folders
    }

    /// Where a partition is. Not in two folders (as in `LogManager.loadLog`): one failed while a topic was deleted and
    /// another one of its name was made.
    pub(super) fn home_of(&self, topic: &str, number: i32) -> io::Result<&Arc<Folder>> {
        let name = name_of(topic, number);
        let has_it = |one: &&Arc<Folder>| self.host.files.exists(&one.path().join(&name));
        let mut found = self.folders.iter().filter(has_it);
        let first = found.next().unwrap_or(&self.folders[0]);
        match found.next() {
            None => Ok(first),
            Some(second) => {
                let (one, other) = (first.path().display(), second.path().display());
                let text = format!("{name} is in {one} and in {other}: remove the older one");
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }

    pub(super) fn open_partition(
        &self,
        home: &Arc<Folder>,
        topic: &str,
        number: i32,
        log: &LogConfig,
    ) -> io::Result<Arc<Partition>> {
        let opened = Partition::open(&self.host, home, &name_of(topic, number), log.clone());
        let opened = opened.inspect_err(|error| home.note(error));
        opened.map(Arc::new)
    }

    /// Folders of topics that were deleted when the broker went down.
    pub(super) fn remove_leftovers(&self) -> io::Result<()> {
        let folders = self.folders.iter();
        folders
            .map(|one| one.path())
            .try_for_each(|folder| self.remove_leftovers_in(folder))
    }

    fn remove_leftovers_in(&self, folder: &Path) -> io::Result<()> {
        for name in self.host.files.list(folder)? {
            let Some((topic, number)) = name.rsplit_once('-') else {
                continue;
            };
            let Ok(number) = number.parse::<i32>() else {
                continue;
            };
            if self
                .get(topic)
                .is_none_or(|topic| topic.partition(number).is_none())
            {
                self.host.files.remove_dir_all(&folder.join(&name))?;
            }
        }
        Ok(())
    }
}

/// The name of a partition's folder.
fn name_of(topic: &str, number: i32) -> String {
    TopicPartition::new(topic, number).to_string()
}

/// Few are done by one thread; it would take longer to start more.
const FEW: usize = 16;

/// Does it with all of `items`, with as many threads as the machine has processors; the results are in their order.
pub(super) fn in_parallel<A: Sync, B: Send>(
    items: &[A],
    work: impl Fn(&A) -> io::Result<B> + Sync,
) -> io::Result<Vec<B>> {
    if items.len() <= FEW {
        return items.iter().map(work).collect();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (share, work) = (items.len().div_ceil(threads), &work);
    std::thread::scope(|scope| {
        let shares = items.chunks(share);
        let shares = shares.map(|some| scope.spawn(move || some.iter().map(work).collect()));
        let shares: Vec<_> = shares.collect();
        let mut all = Vec::with_capacity(items.len());
        for share in shares {
            let done: io::Result<Vec<B>> = share
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.append(&mut done?);
        }
        Ok(all)
    })
}
