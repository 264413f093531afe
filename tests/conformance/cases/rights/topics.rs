//! Topics: configs, creation, growth, deletion.

use kafka_protocol::messages::*;

use crate::{
    batches::Topic,
    talk::{Talk, text},
};

pub(super) fn ask(talk: &mut Talk, topic: &Topic, name: &str) {
    for version in 1..=4 {
        let resource = |kind, name: &str| {
            describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(Some(vec![text("retention.ms")]))
        };
        let request = DescribeConfigsRequest::default().with_resources(vec![
            resource(2, name),
            resource(4, "1"),
            resource(2, &format!("{name}-not")),
        ]);
        talk.ask_edited(name, version, &request, |answer| {
            // Which settings a broker has is not the matter here.
            for one in answer
                .results
                .iter_mut()
                .filter(|one| one.resource_type == 4)
            {
                one.configs.clear();
            }
        });
    }
    for version in 0..=2 {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("1")));
        let resource = |name: &str| {
            alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_configs(vec![config.clone()])
        };
        let alter = AlterConfigsRequest::default()
            .with_resources(vec![resource(name), resource(&format!("{name}-not"))])
            .with_validate_only(true);
        talk.ask(name, version, &alter);
    }
    for version in 0..=1 {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("1")));
        let resource = |name: &str| {
            incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_configs(vec![config.clone()])
        };
        let alter = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource(name), resource(&format!("{name}-not"))])
            .with_validate_only(true);
        talk.ask(name, version, &alter);
    }
    for version in 0..=3 {
        let wanted = |name: &str| {
            create_partitions_request::CreatePartitionsTopic::default()
                .with_name(text(name).into())
                .with_count(5)
                .with_assignments(None)
        };
        let grow = CreatePartitionsRequest::default()
            .with_topics(vec![wanted(name), wanted(&format!("{name}-not"))])
            .with_validate_only(true)
            .with_timeout_ms(1000);
        talk.ask(name, version, &grow);
    }
    for version in 2..=7 {
        let wanted = |name: &str| {
            create_topics_request::CreatableTopic::default()
                .with_name(text(name).into())
                .with_num_partitions(1)
                .with_replication_factor(1)
        };
        let create = CreateTopicsRequest::default()
            .with_topics(vec![wanted(name), wanted(&format!("{name}-not"))])
            .with_validate_only(true)
            .with_timeout_ms(1000);
        talk.ask_edited(name, version, &create, |answer| {
            for one in &mut answer.topics {
                // All configs are compared elsewhere.
                if let Some(configs) = &mut one.configs {
                    configs.truncate(usize::from(!configs.is_empty()));
                    configs.iter_mut().for_each(|one| *one = Default::default());
                }
            }
        });
    }
    for version in 0..=2 {
        let partition = |index| {
            delete_records_request::DeleteRecordsPartition::default()
                .with_partition_index(index)
                .with_offset(0)
        };
        let wanted = delete_records_request::DeleteRecordsTopic::default()
            .with_name(text(name).into())
            .with_partitions(vec![partition(0), partition(9)]);
        let delete = DeleteRecordsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(1000);
        talk.ask(name, version, &delete);
    }
    let not = format!("{name}-not");
    for version in 1..=5 {
        let delete = DeleteTopicsRequest::default()
            .with_topic_names(vec![text(&not).into()])
            .with_timeout_ms(1000);
        talk.ask(name, version, &delete);
    }
    let by_name = |name: &str| {
        delete_topics_request::DeleteTopicState::default().with_name(Some(text(name).into()))
    };
    let by_id = delete_topics_request::DeleteTopicState::default().with_topic_id(topic.id);
    let delete = |one| {
        DeleteTopicsRequest::default()
            .with_topics(vec![one])
            .with_timeout_ms(1000)
    };
    talk.ask("not there", 6, &delete(by_name(&not)));
    talk.ask("by id", 6, &delete(by_id));
    talk.ask("by name", 6, &delete(by_name(name)));
}
