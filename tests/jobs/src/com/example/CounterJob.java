package com.example;

import java.io.FileOutputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/**
 * Counts numbers per key, and in total. The count can be read from outside, so that "restored with its state" is seen
 * and not assumed: as the metric {@code count.total}, and as lines in {@code --beats DIR}.
 */
public final class CounterJob {
    private CounterJob() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        if (arguments.has("fail-main")) {
            throw new IllegalArgumentException("CounterJob was told to fail in main");
        }
        Thread.sleep(arguments.number("main-sleep-ms", 0));
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        if (arguments.has("enable-checkpointing")) {
            environment.enableCheckpointing(arguments.number("enable-checkpointing", 0));
        }
        String version = arguments.text("version", Arguments.builtVersion());
        String suffix = arguments.text("uid", "");
        long keys = arguments.number("keys", 4);
        long slowness = arguments.number("slow-sink-ms", 0);
        SingleOutputStreamOperator<Long> counts =
                environment
                        .fromSource(numbers(arguments), WatermarkStrategy.noWatermarks(), "numbers")
                        // A reader that a larger parallelism adds finds no split and finishes, which no later
                        // restore at another parallelism accepts.
                        .setParallelism(1)
                        .uid("numbers" + suffix)
                        .keyBy(new Modulo(keys))
                        .process(new Count(arguments, version))
                        .name("count")
                        .uid("count" + suffix);
        if (slowness > 0) {
            // A chain of its own, or one with the sink, so that what it cannot take shows as backpressure of the counter.
            counts = counts.map(new Delay(slowness, arguments.text("slow-while", ""))).name("slow").uid("slow");
            counts = arguments.has("slow-with-sink") ? counts.startNewChain() : counts.disableChaining();
        }
        counts.sinkTo(new DiscardingSink<>()).name("discard " + version).uid("discard" + suffix);
        // No name here: a name in code would win over pipeline.name.
        environment.execute();
    }

    /** So many numbers per second; waiting for the next one delays no checkpoint. */
    private static DataGeneratorSource<Long> numbers(Arguments arguments) {
        return new DataGeneratorSource<Long>(
                number -> number,
                arguments.number("bounded", Long.MAX_VALUE),
                RateLimiterStrategy.perSecond(arguments.number("rate", 20)),
                Types.LONG);
    }

    /** The key of a number. */
    private static final class Modulo implements KeySelector<Long, Long> {
        private final long keys;

        Modulo(long keys) {
            this.keys = keys;
        }

        @Override
        public Long getKey(Long number) {
            return number % keys;
        }
    }

    /** Takes its time. */
    private static final class Delay extends RichMapFunction<Long, Long> {
        private final long milliseconds;
        private final String file;

        Delay(long milliseconds, String file) {
            this.milliseconds = milliseconds;
            this.file = file;
        }

        @Override
        public Long map(Long number) throws InterruptedException {
            if (isAsked(file)) {
                Thread.sleep(milliseconds);
            }
            return number;
        }
    }

    /** Whether a fault is wanted: always, or as long as somebody keeps a file in place. */
    private static boolean isAsked(String file) {
        return file.isEmpty() || Files.exists(Path.of(file));
    }

    /** The counter. */
    private static final class Count extends KeyedProcessFunction<Long, Long, Long>
            implements CheckpointedFunction, CheckpointListener {
        private final String version;
        private final String beats;
        private final long failAfter;
        private final String failWhile;
        private final boolean failsSnapshots;
        private final String snapshotHold;
        private final String endHold;
        private transient ValueState<Long> perKey;
        private transient ListState<Long> totals;
        private transient volatile long total;
        private transient long seen;
        private transient String jobId;
        private transient OutputStream lines;

        Count(Arguments arguments, String version) {
            this.version = version;
            this.beats = arguments.text("beats", "");
            this.failAfter = arguments.number("fail-after", Long.MAX_VALUE);
            this.failWhile = arguments.text("fail-while", "");
            this.failsSnapshots = arguments.has("ckpt-fail");
            this.snapshotHold = arguments.text("hold-snapshots", "");
            this.endHold = arguments.text("hold-ends", "");
        }

        @Override
        public void initializeState(FunctionInitializationContext context) throws Exception {
            totals = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("total", Long.class));
            total = 0;
            for (long part : totals.get()) {
                total += part;
            }
        }

        @Override
        public void snapshotState(FunctionSnapshotContext context) throws Exception {
            if (failsSnapshots) {
                throw new IllegalStateException("CounterJob was told to fail its snapshots");
            }
            waitWhile(snapshotHold);
            totals.clear();
            totals.add(total);
        }

        /** A stop's savepoint is complete, and known to be, before the job ends: here is the moment in between. */
        @Override
        public void notifyCheckpointComplete(long checkpointId) throws Exception {
            waitWhile(endHold);
        }

        /** Waits as long as somebody keeps a file in place. */
        private static void waitWhile(String file) throws InterruptedException {
            while (!file.isEmpty() && Files.exists(Path.of(file))) {
                Thread.sleep(20);
            }
        }

        @Override
        public void open(OpenContext context) throws Exception {
            perKey = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Long.class));
            getRuntimeContext().getMetricGroup().gauge("total", (Gauge<Long>) () -> total);
            jobId = getRuntimeContext().getJobInfo().getJobId().toString();
            if (!beats.isEmpty()) {
                Files.createDirectories(Path.of(beats));
                Path file = Path.of(beats, jobId + "-" + UUID.randomUUID() + ".csv");
                lines = new FileOutputStream(file.toFile(), true);
            }
        }

        @Override
        public void processElement(Long number, Context context, Collector<Long> out) throws Exception {
            if (++seen > failAfter && isAsked(failWhile)) {
                throw new IllegalStateException("CounterJob was told to fail after " + failAfter + " records");
            }
            long count = (perKey.value() == null ? 0 : perKey.value()) + 1;
            perKey.update(count);
            total++;
            if (lines != null) {
                // Unbuffered and in one write: a killed process leaves whole lines.
                lines.write(line(context.getCurrentKey(), count));
            }
            out.collect(count);
        }

        private byte[] line(long key, long count) {
            String text = System.currentTimeMillis() + "," + jobId + "," + version + "," + key + "," + count + "\n";
            return text.getBytes(StandardCharsets.UTF_8);
        }

        @Override
        public void close() throws Exception {
            if (lines != null) {
                lines.close();
            }
        }
    }
}
