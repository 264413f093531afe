import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.connect.mirror.*;

/**
 * MirrorMaker 2's clients on a target of strait. `prepare SOURCE` writes records and commits offsets of groups; `check SOURCE
 * TARGET NEXT` asks `MirrorClient` and `RemoteClusterUtils` on the target, and compares their translations with what both
 * topics hold: the next record of a group is to be the same one on both sides.
 */
public class Mirror {
    static final Duration PATIENCE = Duration.ofSeconds(60);
    /** Kept under their names, and copied with a prefix. */
    static final List<String> TOPICS = List.of("kept", "plain", "transactions");
    static final int PARTITIONS = 2;

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "prepare" -> prepare(args[1]);
            case "check" -> check(args[1], args[2], args[3]);
            default -> throw new IllegalArgumentException(args[0]);
        }
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

    /** Offset to value of all committed records. */
    static NavigableMap<Long, String> read(String address, TopicPartition partition) {
        var text = new StringDeserializer();
        NavigableMap<Long, String> records = new TreeMap<>();
        try (Consumer<String, String> consumer =
                     new KafkaConsumer<>(at(address, "isolation.level", "read_committed"), text, text)) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end)
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1)))
                    records.put(record.offset(), record.value());
            // Where one goes on that has read all.
            records.put(end, "the end");
        }
        return records;
    }

    static String remote(String topic) { return topic.equals("kept") ? topic : "east." + topic; }

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
            for (int group = 0; group < 6; group++) translations(admin, client, source, target, "g" + group);
        }
        System.out.println("all is seen");
    }

    static void translations(Admin admin, MirrorClient client, String source, String target, String group)
            throws Exception {
        var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        await("translations of " + group, () -> {
            Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
            for (var entry : committed.entrySet()) {
                TopicPartition from = entry.getKey(), to = new TopicPartition(remote(from.topic()), from.partition());
                String value = read(source, from).ceilingEntry(entry.getValue().offset()).getValue();
                long offset = -1;
                for (var record : read(target, to).entrySet())
                    if (record.getValue().equals(value)) offset = record.getKey();
                wanted.put(to, new OffsetAndMetadata(offset, entry.getValue().metadata()));
            }
            var found = RemoteClusterUtils.translateOffsets(at(target), "east", group, Duration.ofSeconds(5));
            if (wanted.equals(found)) System.out.println(group + ": " + new TreeMap<>(text(found)));
            else problem = "wanted " + wanted + "\n found " + found;
            return wanted.equals(found) && client.remoteConsumerOffsets(group, "east", Duration.ofSeconds(5)).equals(found);
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
