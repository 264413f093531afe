//! Passing over records of the source that the target holds already. Pure.

use wire::record::Record;

use super::Newest;
use crate::{
    source::Content,
    worker::{
        Progress,
        prepare::{PrepareError, open},
    },
};

/// Records that the target holds beyond the acknowledged prefix.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::worker) struct Skip {
    /// How many are still to be passed over.
    pub(in crate::worker) left: i64,
    /// The last of them, as it is on the target.
    pub(in crate::worker) newest: Newest,
    /// Their number was counted by our own sequence, not by offsets.
    pub(in crate::worker) certain: bool,
    /// Where the counting begins if that is not the acknowledged prefix: the target lost records of it.
    pub(in crate::worker) rewound: Option<Box<Progress>>,
}

/// What passing over one batch came to.
#[derive(Debug)]
pub(in crate::worker) enum Passed {
    /// All of it is on the target, and more.
    Whole,
    /// The end is reached, and the record there is the one on the target; this many records of the batch, up
    /// to and with that one, are passed over, and these are left.
    End {
        /// The last record that was passed over.
        last: Record,
        /// Records behind it.
        rest: Vec<Record>,
    },
    /// The source has another record there.
    Differs(Record),
}

impl Skip {
    /// Passes over `content`, a batch whose records before `first_offset` do not count.
    pub(in crate::worker) fn pass(
        &mut self,
        content: &Content,
        first_offset: i64,
    ) -> Result<Passed, PrepareError> {
        let mut records = match content {
            Content::Nothing => return Ok(Passed::Whole),
            Content::Sealed(view) => {
                let count = i64::from(view.header.record_count);
                // Not opened unless the end is in it, or it begins too early.
                if view.header.base_offset >= first_offset && count < self.left {
                    self.left -= count;
                    return Ok(Passed::Whole);
                }
                open(view, first_offset)?
            }
            Content::Open(records) => records.clone(),
        };
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if records.len() < left {
            self.left -= records.len() as i64;
            return Ok(Passed::Whole);
        }
        let rest = records.split_off(left);
        self.left = 0;
        let last = records
            .pop()
            .expect("at least one record is left to pass over");
        if self.newest.is(&last) {
            Ok(Passed::End { last, rest })
        } else {
            Ok(Passed::Differs(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{
        batch::BatchView,
        record::{BatchBuilder, Codec},
    };

    fn record(offset: i64) -> Record {
        Record {
            offset,
            timestamp: 5,
            key: None,
            value: Some(offset.to_be_bytes().to_vec().into()),
            headers: Vec::new(),
        }
    }

    fn batch(offsets: std::ops::Range<i64>) -> Content {
        let mut builder = BatchBuilder::new(Codec::None);
        for offset in offsets.clone() {
            builder.push(5, None, record(offset).value.as_deref(), &[]);
        }
        let bytes = builder.build(offsets.start).unwrap();
        Content::Sealed(BatchView::read(&bytes).unwrap().unwrap())
    }

    fn skip(left: i64, newest: i64) -> Skip {
        let newest = Newest {
            record: Record {
                offset: 77,
                ..record(newest)
            },
            log_append_time: false,
            next_offset: 78,
        };
        Skip {
            left,
            newest,
            certain: true,
            rewound: None,
        }
    }

    #[test]
    fn whole_batches_and_a_part_of_one_are_passed_over() {
        let mut skip = skip(8, 107);
        assert!(matches!(
            skip.pass(&batch(100..105), 100),
            Ok(Passed::Whole)
        ));
        assert_eq!(skip.left, 3);
        let Ok(Passed::End { last, rest }) = skip.pass(&batch(105..110), 105) else {
            panic!()
        };
        assert_eq!(last.offset, 107);
        assert_eq!(
            rest.iter().map(|r| r.offset).collect::<Vec<_>>(),
            [108, 109]
        );
    }

    #[test]
    fn records_before_the_wanted_offset_do_not_count() {
        let mut skip = skip(2, 104);
        let Ok(Passed::End { last, rest }) = skip.pass(&batch(100..105), 103) else {
            panic!()
        };
        assert_eq!((last.offset, rest.len()), (104, 0));
    }

    #[test]
    fn rule_5_content_decides_and_not_the_count() {
        let mut skip = skip(5, 999);
        let Ok(Passed::Differs(record)) = skip.pass(&batch(100..110), 100) else {
            panic!()
        };
        assert_eq!(record.offset, 104);
    }

    #[test]
    fn times_that_the_target_set_are_not_compared() {
        let mut skip = skip(1, 100);
        skip.newest.record.timestamp = 999_999;
        assert!(matches!(
            skip.clone().pass(&batch(100..101), 100),
            Ok(Passed::Differs(_))
        ));
        skip.newest.log_append_time = true;
        assert!(matches!(
            skip.pass(&batch(100..101), 100),
            Ok(Passed::End { .. })
        ));
    }
}
