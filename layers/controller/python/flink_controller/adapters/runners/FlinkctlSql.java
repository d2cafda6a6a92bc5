import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ExplainFormat;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.api.internal.TableEnvironmentInternal;
import org.apache.flink.table.operations.LoadModuleOperation;
import org.apache.flink.table.operations.ModifyOperation;
import org.apache.flink.table.operations.Operation;
import org.apache.flink.table.operations.SinkModifyOperation;
import org.apache.flink.table.operations.UnloadModuleOperation;
import org.apache.flink.table.operations.UseOperation;
import org.apache.flink.table.operations.command.SetOperation;
import org.apache.flink.table.operations.ddl.AlterOperation;
import org.apache.flink.table.operations.ddl.CreateOperation;
import org.apache.flink.table.operations.ddl.DropOperation;

/**
 * Runs the SQL script that lies beside it in the jar, as one job: definitions and settings take effect in their order,
 * and all INSERTs are submitted together at the end. Arguments are the values of the script's variables, name=value.
 *
 * <p>{@code flinkctl/statements} says where each statement begins and ends, in bytes: whoever made the jar has told them
 * apart, and has refused those that a job must not run. Operations that this class does not know are refused here too.
 *
 * <p>A statement is parsed behind as many blanks as there is script before it, so that the lines and columns of Flink's
 * messages are the script's.
 */
public final class FlinkctlSql {
    private static final String SCRIPT = "/flinkctl/script.sql";
    private static final String STATEMENTS = "/flinkctl/statements";
    private static final Pattern POSITION =
            Pattern.compile(
                    "\\s*\\b(?:[Ff]rom |at )?line (\\d+), column (\\d+)(?: to line \\d+, column \\d+)?[:.]?\\s*");
    private static final Pattern VARIABLE = Pattern.compile("\\$\\{([^}]*)\\}");

    private final TableEnvironmentInternal tables;
    private final Map<String, String> variables;
    private final TreeSet<String> unused;
    private final List<String> places = new ArrayList<>();
    private final List<ModifyOperation> inserts = new ArrayList<>();

    private FlinkctlSql(TableEnvironmentInternal tables, Map<String, String> variables) {
        this.tables = tables;
        this.variables = variables;
        this.unused = new TreeSet<>(variables.keySet());
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> variables = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            variables.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        // Without the job's own configuration the tables would be planned for streams, whatever was asked for.
        Configuration configuration = Configuration.fromMap(environment.getConfiguration().toMap());
        EnvironmentSettings settings = EnvironmentSettings.newInstance().withConfiguration(configuration).build();
        StreamTableEnvironment tables = StreamTableEnvironment.create(environment, settings);
        new FlinkctlSql((TableEnvironmentInternal) tables, variables).run();
    }

    private void run() throws Exception {
        byte[] script = resource(SCRIPT);
        for (String range : new String(resource(STATEMENTS), StandardCharsets.US_ASCII).split("\n")) {
            int space = range.indexOf(' ');
            int start = Integer.parseInt(range.substring(0, space));
            int end = Integer.parseInt(range.substring(space + 1));
            String blank = new String(script, 0, start, StandardCharsets.UTF_8).replaceAll("[^\r\n]", " ");
            String place = place(blank);
            try {
                take(blank + filledIn(new String(script, start, end - start, StandardCharsets.UTF_8)), place);
            } catch (Exception error) {
                throw new IllegalArgumentException(told(error, place));
            }
        }
        if (!unused.isEmpty()) {
            throw new IllegalArgumentException("args name variables that the script does not use: " + unused);
        }
        try {
            tables.executeInternal(inserts);
        } catch (Exception error) {
            findFault();
            throw error;
        }
    }

    /** Carries out what takes effect at once, and keeps what is submitted at the end. */
    private void take(String statement, String place) {
        Operation operation = tables.getParser().parse(statement).get(0);
        if (operation instanceof SinkModifyOperation) {
            inserts.add((ModifyOperation) operation);
            places.add(place);
        } else if (operation instanceof SetOperation) {
            SetOperation setting = (SetOperation) operation;
            tables.getConfig().set(setting.getKey().orElseThrow(), setting.getValue().orElseThrow());
        } else if (operation instanceof CreateOperation
                || operation instanceof AlterOperation
                || operation instanceof DropOperation
                || operation instanceof UseOperation
                || operation instanceof LoadModuleOperation
                || operation instanceof UnloadModuleOperation) {
            tables.executeInternal(operation);
        } else {
            throw new IllegalArgumentException("a job cannot run a " + operation.getClass().getSimpleName());
        }
    }

    /** Flink plans all INSERTs at once and does not say which one it cannot: each is planned alone to find out. */
    private void findFault() {
        for (int i = 0; i < inserts.size(); i++) {
            try {
                tables.explainInternal(Collections.<Operation>singletonList(inserts.get(i)), ExplainFormat.TEXT);
            } catch (Exception error) {
                throw new IllegalArgumentException(told(error, places.get(i)));
            }
        }
    }

    /** Only literals hold variables, so a value is quoted as one and cannot become anything else. */
    private String filledIn(String statement) {
        Matcher matcher = VARIABLE.matcher(statement);
        StringBuffer result = new StringBuffer();
        while (matcher.find()) {
            String value = variables.get(matcher.group(1));
            if (value == null) {
                throw new IllegalArgumentException(
                        "variable " + matcher.group(1) + " has no value: write " + matcher.group(1) + "=… into args");
            }
            unused.remove(matcher.group(1));
            matcher.appendReplacement(result, Matcher.quoteReplacement(value.replace("'", "''")));
        }
        return matcher.appendTail(result).toString();
    }

    /** One line: where, then what. The place that an error names wins over where its statement begins. */
    private static String told(Throwable error, String place) {
        String what = null;
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            String message = String.valueOf(cause.getMessage());
            Matcher position = POSITION.matcher(message);
            if (position.find()) {
                String where = "line " + position.group(1) + ", column " + position.group(2);
                String rest = message.substring(0, position.start()) + " " + message.substring(position.end());
                return where + ": " + shortened(rest);
            }
            String known = positionOf(cause);
            if (known != null) {
                return known + ": " + shortened(message);
            }
            // Some messages are a bare name, which says nothing without its exception's.
            what = message.contains(" ") ? message : cause.getClass().getSimpleName() + ": " + message;
        }
        return place + ": " + shortened(what);
    }

    /** The parser's exceptions know their place, but live in a class loader of the planner's own. */
    private static String positionOf(Throwable cause) {
        try {
            Object position = cause.getClass().getMethod("getPos").invoke(cause);
            Object line = position.getClass().getMethod("getLineNum").invoke(position);
            Object column = position.getClass().getMethod("getColumnNum").invoke(position);
            return "line " + line + ", column " + column;
        } catch (ReflectiveOperationException | RuntimeException notKnown) {
            return null;
        }
    }

    /** What the parser would have expected instead fills pages. */
    private static String shortened(String message) {
        int expecting = message.indexOf("Was expecting");
        String kept = expecting < 0 ? message : message.substring(0, expecting);
        return kept.replaceAll("(SQL (parse|validation) failed\\. )+", "").replaceAll("\\s+", " ").trim();
    }

    private static String place(String blank) {
        String[] lines = blank.split("\r\n|\r|\n", -1);
        return "line " + lines.length + ", column " + (lines[lines.length - 1].length() + 1);
    }

    private static byte[] resource(String name) throws IOException {
        try (InputStream stream = FlinkctlSql.class.getResourceAsStream(name)) {
            return stream.readAllBytes();
        }
    }
}
