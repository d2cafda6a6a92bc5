package com.example;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.api.common.RuntimeExecutionMode;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Works through a number of records and finishes. With {@code --out DIR} each subtask leaves a file
 * {@code <job id>-<subtask>.csv} holding {@code scheduled time,version,records}.
 */
public final class BatchJob {
    private BatchJob() {}

    public static void main(String[] words) throws Exception {
        Arguments arguments = new Arguments(words);
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        environment.setRuntimeMode(RuntimeExecutionMode.BATCH);
        String version = arguments.text("version", Arguments.builtVersion());
        environment
                .fromSequence(1, arguments.number("records", 100))
                .name("numbers")
                .uid("numbers")
                .map(new Work(arguments, version))
                .name("work")
                .uid("work")
                .sinkTo(new DiscardingSink<>())
                .name("discard " + version)
                .uid("discard");
        // No name here: a name in code would win over pipeline.name.
        environment.execute();
    }

    /** What is done with a record. */
    private static final class Work extends RichMapFunction<Long, Long> {
        private final long sleep;
        private final boolean fails;
        private final String out;
        private final String label;
        private transient long records;

        Work(Arguments arguments, String version) {
            this.sleep = arguments.number("sleep-ms-per-record", 0);
            this.fails = arguments.has("fail");
            this.out = arguments.text("out", "");
            this.label = arguments.text("scheduled-time", "") + "," + version;
        }

        @Override
        public void open(OpenContext context) {
            records = 0;
        }

        @Override
        public Long map(Long number) throws InterruptedException {
            if (fails) {
                throw new IllegalStateException("BatchJob was told to fail");
            }
            Thread.sleep(sleep);
            records++;
            return number;
        }

        @Override
        public void close() throws Exception {
            if (out.isEmpty() || records == 0) {
                return;
            }
            Files.createDirectories(Path.of(out));
            String name =
                    getRuntimeContext().getJobInfo().getJobId()
                            + "-"
                            + getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
            Files.writeString(Path.of(out, name + ".csv"), label + "," + records + "\n");
        }
    }
}
