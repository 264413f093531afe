//! Frames against those of the `kafka-protocol` crate, which copies.

use std::{path::Path, sync::Arc};

use host::{Files, sim::SimFiles};
use kafka_protocol::{
    messages::{
        FetchRequest,
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch,
            NodeEndpoint,
        },
    },
    protocol::StrBytes,
};
use proptest::{collection::vec, option, prelude::*};
use uuid::Uuid;

use super::*;
use crate::{log::Slice, state::folders::Folder};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn partition() -> impl Strategy<Value = PartitionData> {
    let numbers = (0i32..9, any::<i16>(), any::<[i64; 3]>(), -1i32..3);
    let aborted = option::of(vec((any::<i64>(), any::<i64>()), 0..200));
    let tags = (option::of(0i32..5), option::of(any::<i64>()));
    (numbers, aborted, tags, vec(any::<u8>(), 0..400)).prop_map(
        |((index, error, ends, replica), aborted, (leader, diverging), records)| {
            let aborted = aborted.map(|all| {
                let all = all.into_iter().map(|(id, offset)| {
                    AbortedTransaction::default()
                        .with_producer_id(id.into())
                        .with_first_offset(offset)
                });
                all.collect()
            });
            let mut data = PartitionData::default()
                .with_partition_index(index)
                .with_error_code(error)
                .with_high_watermark(ends[0])
                .with_last_stable_offset(ends[1])
                .with_log_start_offset(ends[2])
                .with_preferred_read_replica(replica.into())
                .with_aborted_transactions(aborted)
                .with_records(Some(records.into()));
            if let Some(id) = leader {
                data.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(id.into())
                    .with_leader_epoch(id + 1);
            }
            if let Some(end) = diverging {
                data.diverging_epoch = EpochEndOffset::default().with_epoch(7).with_end_offset(end);
            }
            data
        },
    )
}

fn response() -> impl Strategy<Value = FetchResponse> {
    let topic = ("[a-z]{0,200}", any::<u128>(), vec(partition(), 0..4));
    let topic = topic.prop_map(|(name, id, partitions)| {
        FetchableTopicResponse::default()
            .with_topic(text(&name).into())
            .with_topic_id(Uuid::from_u128(id))
            .with_partitions(partitions)
    });
    let nodes = vec((0i32..9, "[a-z]{0,40}", option::of("[a-z]{0,5}")), 0..3);
    let nodes = nodes.prop_map(|nodes| {
        let nodes = nodes.into_iter().map(|(id, host, rack)| {
            NodeEndpoint::default()
                .with_node_id(id.into())
                .with_host(text(&host))
                .with_port(id + 9_092)
                .with_rack(rack.map(|rack| text(&rack)))
        });
        nodes.collect::<Vec<_>>()
    });
    let top = (any::<i32>(), any::<i16>(), any::<i32>());
    (top, vec(topic, 0..4), nodes).prop_map(|((throttle, error, session), topics, nodes)| {
        FetchResponse::default()
            .with_throttle_time_ms(throttle)
            .with_error_code(error)
            .with_session_id(session)
            .with_responses(topics)
            .with_node_endpoints(nodes)
    })
}

/// Only what there is in a version: the crate refuses the rest, which is not sent here.
fn downgraded(mut response: FetchResponse, version: i16) -> FetchResponse {
    if version < 7 {
        response.session_id = 0;
    }
    if version < 16 {
        response.node_endpoints.clear();
    }
    for topic in &mut response.responses {
        if version >= BY_ID {
            topic.topic = StrBytes::default().into();
        } else {
            topic.topic_id = Uuid::nil();
        }
        for data in &mut topic.partitions {
            if version < 11 {
                data.preferred_read_replica = (-1).into();
            }
        }
    }
    response
}

proptest! {
    /// The crate copies the records into its frame; here they come from a file.
    #[test]
    fn frames_are_those_of_the_crate(response in response(), id in any::<i32>()) {
        for version in 4..=18 {
            let response = downgraded(response.clone(), version);
            let kind = std::marker::PhantomData::<FetchRequest>;
            let expected = crate::api::encode(kind, id, version, Some(response.clone()));

            let files = SimFiles::default();
            files.create_dir_all(Path::new("/")).unwrap();
            let file = files.open(Path::new("/log")).unwrap();
            let home = Arc::new(Folder::new(Path::new("/")));
            let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
            let records = partitions.map(|data| {
                let bytes = data.records.as_ref().filter(|bytes| !bytes.is_empty())?;
                let position = file.len().unwrap();
                file.write_all_at(bytes, position).unwrap();
                let (len, file) = (bytes.len() as u64, Arc::clone(&file));
                let slice = Slice { file, position, len, next: 0 };
                Some(Records { slice, home: Arc::clone(&home) })
            });
            let answer = encode(&response, records.collect(), id, version).unwrap();
            let pieces = answer.0.iter().map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.clone(),
                Piece::Records(records) => records.slice.read(),
            });
            let frame = pieces.collect::<Vec<_>>().concat();
            prop_assert!(frame == expected.unwrap().unwrap(), "version {}", version);
        }
    }
}

/// The length of a frame is a signed 32-bit number.
#[test]
fn what_no_frame_holds_is_refused() {
    let files = SimFiles::default();
    files.create_dir_all(Path::new("/")).unwrap();
    let file = files.open(Path::new("/log")).unwrap();
    let records = |len| {
        let (position, next, file) = (0, 0, Arc::clone(&file));
        let slice = Slice {
            file,
            position,
            len,
            next,
        };
        let home = Arc::new(Folder::new(Path::new("/")));
        vec![Some(Records { slice, home })]
    };
    let topic = FetchableTopicResponse::default().with_partitions(vec![PartitionData::default()]);
    let response = FetchResponse::default().with_responses(vec![topic]);
    for version in [4, 18] {
        let most = i32::MAX as u64;
        assert!(encode(&response, records(most - 200), 0, version).is_ok());
        assert!(encode(&response, records(most - 20), 0, version).is_err());
        assert!(encode(&response, records(most * 3), 0, version).is_err());
    }
}
