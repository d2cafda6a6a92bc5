import org.apache.flink.api.common.RuntimeExecutionMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * The job that uses up a job id. It is submitted with a savepoint path that does not exist, so that Flink registers
 * the id as FAILED and refuses it from then on. Should it ever run, it discards one number and finishes.
 *
 * <p>Streaming, not batch: a batch job ignores the savepoint path, runs, and leaves the decision open.
 */
public final class FlinkctlBurn {
    private FlinkctlBurn() {}

    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        environment.setRuntimeMode(RuntimeExecutionMode.STREAMING);
        environment.setParallelism(1);
        environment.fromSequence(1L, 1L).uid("numbers").sinkTo(new DiscardingSink<Long>()).uid("nowhere");
        environment.execute("flinkctl-burn");
    }
}
