import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Kinesis Client Library. Prints what happens as lines of JSON: {"begins": SHARD, "at": …}, {"record": …,
 * "shard": …, "sequence": …, "sub": …}, {"checkpoint": …, "sub": …, "shard": …}, {"ended": SHARD}, {"lost": SHARD}, and at
 * last {"stopped": true}. It stops when its standard input ends, as KCL does when it may, so it never outlives who has
 * started it.
 *
 * <pre>KclWorker --application NAME --stream NAME --worker ID --kinesis URL --dynamodb URL [--region R] [--tuned]
 *           [--per-shard N] [--items TABLE] [--quiet]</pre>
 *
 * --tuned: takes leases within seconds, where the defaults take minutes. --per-shard: N records of each shard are processed,
 * the last of them is the checkpoint, and nothing more is. --items: one item per record is written into this table, under
 * the key `id`, before the record counts as processed. --quiet: records are counted, each second, and not printed.
 */
public final class KclWorker {
    private final Map<String, String> given = new HashMap<>();
    private final AtomicLong processed = new AtomicLong();
    private DynamoDbAsyncClient dynamodb;

    public static void main(String[] arguments) throws Exception {
        KclWorker worker = new KclWorker();
        for (int at = 0; at < arguments.length; at++) {
            boolean isFlag = at + 1 == arguments.length || arguments[at + 1].startsWith("--");
            worker.given.put(arguments[at].substring(2), isFlag ? "" : arguments[++at]);
        }
        worker.run();
    }

    private void run() throws Exception {
        Region region = Region.of(given.getOrDefault("region", "eu-west-1"));
        StaticCredentialsProvider credentials =
                StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
        KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).maxConcurrency(200))
                .endpointOverride(URI.create(given.get("kinesis")))
                .region(region).credentialsProvider(credentials).build();
        dynamodb = DynamoDbAsyncClient.builder()
                .endpointOverride(URI.create(given.get("dynamodb")))
                .region(region).credentialsProvider(credentials).build();
        // Nothing is sent to it: there are no metrics.
        CloudWatchAsyncClient cloudwatch = CloudWatchAsyncClient.builder()
                .endpointOverride(URI.create(given.get("dynamodb")))
                .region(region).credentialsProvider(credentials).build();
        Scheduler scheduler = scheduler(kinesis, cloudwatch);
        Thread running = new Thread(scheduler, "scheduler");
        running.setDaemon(true);
        running.start();
        if (isGiven("quiet")) {
            Thread counting = new Thread(this::count, "counting");
            counting.setDaemon(true);
            counting.start();
        }
        while (System.in.read() >= 0) {
            continue;
        }
        scheduler.startGracefulShutdown().get();
        say("{\"stopped\": true}");
        System.exit(0);
    }

    private Scheduler scheduler(KinesisAsyncClient kinesis, CloudWatchAsyncClient cloudwatch) {
        SingleStreamTracker stream = new SingleStreamTracker(
                given.get("stream"),
                InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON));
        ConfigsBuilder configs = new ConfigsBuilder(
                stream, given.get("application"), kinesis, dynamodb, cloudwatch, given.get("worker"), Processor::new);
        var leases = configs.leaseManagementConfig();
        var coordinator = configs.coordinatorConfig();
        var polling = new PollingConfig(given.get("stream"), kinesis);
        if (isGiven("tuned")) {
            leases.failoverTimeMillis(2_000).leaseAssignmentIntervalMillis(1_000L).shardSyncIntervalMillis(1_000);
            leases.leasesRecoveryAuditorExecutionFrequencyMillis(2_000);
            leases.dynamoDbLockBasedLeaderLeaseDurationInMillis(3_000);
            leases.dynamoDbLockBasedLeaderHeartbeatPeriodInMillis(1_000);
            leases.workerUtilizationAwareAssignmentConfig()
                    .inMemoryWorkerMetricsCaptureFrequencyMillis(200)
                    .workerMetricsReporterFreqInMillis(500);
            coordinator.parentShardPollIntervalMillis(500).shardConsumerDispatchPollIntervalMillis(200);
            polling.idleTimeBetweenReadsInMillis(200);
        }
        return new Scheduler(
                configs.checkpointConfig(), coordinator, leases, configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()), configs.processorConfig(),
                configs.retrievalConfig().retrievalSpecificConfig(polling));
    }

    private void count() {
        try {
            while (true) {
                Thread.sleep(1_000);
                say("{\"processed\": " + processed.get() + "}");
            }
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }

    private boolean isGiven(String option) {
        return given.containsKey(option);
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static String text(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
    }

    /** Of one shard. */
    private final class Processor implements ShardRecordProcessor {
        private final long limit = Long.parseLong(given.getOrDefault("per-shard", "" + Long.MAX_VALUE));
        private String shard;
        private long count;

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            say("{\"begins\": " + text(shard) + ", \"at\": " + text("" + input.extendedSequenceNumber()) + "}");
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            KinesisClientRecord last = null;
            List<KinesisClientRecord> records = input.records();
            for (KinesisClientRecord record : records.subList(0, (int) Math.min(records.size(), limit - count))) {
                process(record);
                count++;
                last = record;
            }
            if (last != null) {
                KinesisClientRecord settled = last;
                checkpoint(() -> input.checkpointer().checkpoint(settled.sequenceNumber(), settled.subSequenceNumber()), settled);
            }
        }

        private void process(KinesisClientRecord record) {
            ByteBuffer data = record.data();
            String body = StandardCharsets.UTF_8.decode(data.duplicate()).toString();
            if (isGiven("items")) {
                String id = record.sequenceNumber() + "." + record.subSequenceNumber();
                Map<String, AttributeValue> item = Map.of(
                        "id", AttributeValue.fromS(id), "body", AttributeValue.fromS(body));
                dynamodb.putItem(put -> put.tableName(given.get("items")).item(item)).join();
            }
            processed.incrementAndGet();
            if (!isGiven("quiet")) {
                say("{\"record\": " + text(body) + place(record) + "}");
            }
        }

        private String place(KinesisClientRecord record) {
            return ", \"shard\": " + text(shard) + ", \"sequence\": " + text(record.sequenceNumber())
                    + ", \"sub\": " + record.subSequenceNumber();
        }

        private void checkpoint(Checkpoint checkpoint, KinesisClientRecord settled) {
            try {
                checkpoint.run();
                String place = settled == null ? ", \"shard\": " + text(shard) : place(settled);
                say("{\"checkpoint\": true" + place + "}");
            } catch (InvalidStateException | ShutdownException refused) {
                say("{\"refused\": " + text("" + refused) + ", \"shard\": " + text(shard) + "}");
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            say("{\"lost\": " + text(shard) + "}");
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            RecordProcessorCheckpointer checkpointer = input.checkpointer();
            checkpoint(checkpointer::checkpoint, null);
            say("{\"ended\": " + text(shard) + "}");
        }

        /** What was processed is the checkpoint already. */
        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            say("{\"leaves\": " + text(shard) + "}");
        }
    }

    private interface Checkpoint {
        void run() throws InvalidStateException, ShutdownException;
    }
}
