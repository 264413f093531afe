import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.connect.mirror.*;

/**
 * MirrorMaker 2's clients on a target of strait: `Mirror SOURCE TARGET NEXT`. Writes records and commits offsets of groups, says
 * "prepared", whereupon strait is started; then asks `MirrorClient` and `RemoteClusterUtils` on the target, and compares their
 * translations with what both topics hold: the next record of a group is to be the same one on both sides.
 */
public class Mirror {
    static final Duration PATIENCE = Duration.ofSeconds(60);
    /** Kept under their names, and copied with a prefix. */
    static final List<String> TOPICS = List.of("kept", "plain", "transactions");
    static final int PARTITIONS = 2;

    public static void main(String[] args) throws Exception {
        prepare(args[0]);
        System.out.println("prepared");
        check(args[0], args[1], args[2]);
    }

    static Map<String, Object> at(String address, String... more) {
        Map<String, Object> properties = new HashMap<>(Map.of("bootstrap.servers", address));
        for (int i = 0; i < more.length; i += 2) properties.put(more[i], more[i + 1]);
        return properties;
    }

    static void prepare(String source) throws Exception {
        try (Admin admin = Admin.create(at(source))) {
            List<NewTopic> topics = TOPICS.stream().map(name -> new NewTopic(name, PARTITIONS, (short) 1)).toList();
            admin.createTopics(topics).all().get();
            write(source, 0, 200);
            // Offsets on both sides differ from the first record on.
            Map<TopicPartition, RecordsToDelete> deleted = new HashMap<>();
            partitions().forEach(p -> deleted.put(p, RecordsToDelete.beforeOffset(17 + p.partition())));
            admin.deleteRecords(deleted).all().get();
            int[] offsets = {0, 18, 40, 41, 97, 150};
            for (int group = 0; group < offsets.length; group++) commit(admin, "g" + group, offsets[group]);
        }
    }

    static List<TopicPartition> partitions() {
        List<TopicPartition> all = new ArrayList<>();
        for (String topic : TOPICS) for (int p = 0; p < PARTITIONS; p++) all.add(new TopicPartition(topic, p));
        return all;
    }

    static void commit(Admin admin, String group, int offset) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        partitions().forEach(p -> offsets.put(p, new OffsetAndMetadata(offset + p.partition(), group + "'s")));
        admin.alterConsumerGroupOffsets(group, offsets).all().get();
    }

    /** The same number to all partitions, a value each; in transactions, one of three aborted, where the topic says so. */
    static void write(String source, int from, int to) throws Exception {
        var text = new StringSerializer();
        try (Producer<String, String> plain = new KafkaProducer<>(at(source, "linger.ms", "0", "batch.size", "500"), text, text);
             Producer<String, String> transactional =
                     new KafkaProducer<>(at(source, "transactional.id", "mirror"), text, text)) {
            transactional.initTransactions();
            for (TopicPartition p : partitions()) {
                boolean inTransactions = p.topic().equals("transactions");
                Producer<String, String> producer = inTransactions ? transactional : plain;
                for (int i = from; i < to; i++) {
                    if (inTransactions && i % 10 == 0) producer.beginTransaction();
                    producer.send(new ProducerRecord<>(p.topic(), p.partition(), "key", p + "/" + i));
                    boolean isLast = i % 10 == 9;
                    if (inTransactions && isLast && i % 30 == 9) { producer.flush(); producer.abortTransaction(); }
                    else if (inTransactions && isLast) producer.commitTransaction();
                }
                producer.flush();
            }
        }
    }

    /** Offset to value of all committed records, by partition; at the end of each where one goes on that has read all. */
    static Map<TopicPartition, NavigableMap<Long, String>> read(String address, List<TopicPartition> partitions) {
        var text = new StringDeserializer();
        Map<TopicPartition, NavigableMap<Long, String>> records = new HashMap<>();
        partitions.forEach(partition -> records.put(partition, new TreeMap<>()));
        try (Consumer<String, String> consumer =
                     new KafkaConsumer<>(at(address, "isolation.level", "read_committed"), text, text)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition)))
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1)))
                    records.get(new TopicPartition(record.topic(), record.partition())).put(record.offset(), record.value());
            ends.forEach((partition, end) -> records.get(partition).put(end, "the end"));
        }
        return records;
    }

    static TopicPartition copy(TopicPartition partition) {
        String topic = partition.topic().equals("kept") ? "kept" : "east." + partition.topic();
        return new TopicPartition(topic, partition.partition());
    }

    static void check(String source, String target, String next) throws Exception {
        try (Admin admin = Admin.create(at(source)); MirrorClient client = new MirrorClient(at(target));
             MirrorClient behind = new MirrorClient(at(next))) {
            // One that is at the end of what is copied, and one that was set back.
            write(source, 200, 230);
            commit(admin, "g0", 60);
            commit(admin, "g4", 20);
            await("topics", () -> client.remoteTopics("east").containsAll(Set.of("east.plain", "east.transactions")));
            await("clusters", () -> client.upstreamClusters().equals(Set.of("east")));
            await("hops", () -> client.replicationHops("east") == 1 && client.replicationHops("west") == -1);
            await("heartbeats", () -> client.heartbeatTopics().equals(Set.of("heartbeats", "east.heartbeats")));
            await("checkpoints", () -> client.checkpointTopics().equals(Set.of("east.checkpoints.internal")));
            await("two hops", () -> behind.replicationHops("east") == 2 && behind.replicationHops("west") == 1);
            await("clusters behind", () -> behind.upstreamClusters().equals(Set.of("east", "west")));
            var here = read(source, partitions());
            List<TopicPartition> copies = partitions().stream().map(Mirror::copy).toList();
            Map<TopicPartition, NavigableMap<Long, String>> there = new HashMap<>();
            await("copies", () -> {
                there.putAll(read(target, copies));
                return partitions().stream().allMatch(p -> there.get(copy(p)).size() == here.get(p).size());
            });
            for (int group = 0; group < 6; group++) translations(admin, client, target, here, there, "g" + group);
            offsetSyncs(target, here, there);
        }
        System.out.println("all is seen");
    }

    /** Each is one record on both sides, by the reader of MirrorMaker 2. */
    static void offsetSyncs(String target, Map<TopicPartition, NavigableMap<Long, String>> here,
                            Map<TopicPartition, NavigableMap<Long, String>> there) throws Exception {
        TopicPartition topic = new TopicPartition("mm2-offset-syncs.east.internal", 0);
        Set<TopicPartition> seen = new HashSet<>();
        try (Consumer<byte[], byte[]> consumer =
                     new KafkaConsumer<>(at(target), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(topic));
            await("offset syncs of " + TOPICS, () -> {
                consumer.seekToBeginning(List.of(topic));
                long end = consumer.endOffsets(List.of(topic)).get(topic);
                while (consumer.position(topic) < end)
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                        OffsetSync sync = OffsetSync.deserializeRecord(record);
                        TopicPartition from = sync.topicPartition();
                        String value = here.get(from).get(sync.upstreamOffset());
                        String copied = there.get(copy(from)).get(sync.downstreamOffset());
                        // What is right before an anchor may be no record: a marker, or what was deleted.
                        if (value != null && !value.equals(copied)) throw new AssertionError(sync + ": " + value + ", " + copied);
                        seen.add(from);
                    }
                // The flow that keeps names has none.
                return seen.size() == PARTITIONS * (TOPICS.size() - 1);
            });
        }
    }

    static void translations(Admin admin, MirrorClient client, String target,
                             Map<TopicPartition, NavigableMap<Long, String>> here,
                             Map<TopicPartition, NavigableMap<Long, String>> there, String group) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((from, committed) -> {
            String value = here.get(from).ceilingEntry(committed.offset()).getValue();
            there.get(copy(from)).forEach((offset, copied) -> {
                if (copied.equals(value)) wanted.put(copy(from), new OffsetAndMetadata(offset, committed.metadata()));
            });
        });
        await("translations of " + group, () -> {
            var found = RemoteClusterUtils.translateOffsets(at(target), "east", group, Duration.ofSeconds(5));
            if (!wanted.equals(found)) {
                problem = "wanted " + wanted + "\n found " + found;
                return false;
            }
            System.out.println(group + ": " + new TreeMap<>(text(found)));
            return client.remoteConsumerOffsets(group, "east", Duration.ofSeconds(5)).equals(found);
        });
    }

    static Map<String, Long> text(Map<TopicPartition, OffsetAndMetadata> offsets) {
        Map<String, Long> text = new HashMap<>();
        offsets.forEach((partition, offset) -> text.put(partition.toString(), offset.offset()));
        return text;
    }

    interface Question { boolean ask() throws Exception; }

    static String problem = "";

    static void await(String what, Question question) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!question.ask()) {
            if (System.nanoTime() > deadline) throw new AssertionError(what + ": " + problem);
            Thread.sleep(300);
        }
    }
}
