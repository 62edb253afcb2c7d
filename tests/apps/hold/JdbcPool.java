// LANES threads over a small pool of JDBC connections (pgjdbc: blocking sockets), one transaction of SHORTEST_MS to
// LONGEST_MS after the other without a pause between them. No SIGTERM handler beyond the JVM's own, and no
// shutdown hook.
// HOOK=1: a hook that lets each thread finish its transaction and closes the pool.
import java.io.FileOutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.Properties;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ThreadLocalRandom;

public class JdbcPool {
    static final int LANES = number("LANES", 8), STATEMENTS = number("STATEMENTS", 3);
    static final int SHORTEST = number("SHORTEST_MS", 5), LONGEST = number("LONGEST_MS", 50);
    static final long PID = ProcessHandle.current().pid();
    static FileOutputStream journal;
    static volatile boolean stopping;

    static int number(String name, int otherwise) {
        String value = System.getenv(name);
        return value == null ? otherwise : Integer.parseInt(value);
    }

    static double nowMs() {
        return System.nanoTime() / 1e6; // CLOCK_MONOTONIC
    }

    static void say(String text) {
        try {
            journal.write((text + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (java.io.IOException error) {
            Runtime.getRuntime().halt(3);
        }
    }

    static Connection connect() throws Exception {
        URI url = URI.create(System.getenv("DATABASE_URL"));
        String[] login = url.getUserInfo().split(":", 2);
        Properties settings = new Properties();
        settings.setProperty("user", login[0]);
        settings.setProperty("password", login[1]);
        settings.setProperty("prepareThreshold", "0"); // PgBouncer in transaction mode knows no prepared statements
        boolean tls = url.getQuery() != null && url.getQuery().contains("sslmode=require");
        settings.setProperty("sslmode", tls ? "require" : "disable");
        Connection connection = DriverManager.getConnection(
            "jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath(), settings);
        connection.setAutoCommit(false);
        return connection;
    }

    static void run(Connection connection, String sql, String text, int number) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            if (text != null) statement.setString(1, text);
            else if (number >= 0) statement.setInt(1, number);
            statement.execute();
        }
    }

    static void transaction(Connection connection, int lane, String name) throws Exception {
        double began = nowMs();
        long gap = Math.round(ThreadLocalRandom.current().nextDouble(SHORTEST, LONGEST) / STATEMENTS);
        say("I " + name);
        run(connection, "INSERT INTO work(id) VALUES (?)", name, -1);
        Thread.sleep(gap);
        for (int more = STATEMENTS - 2; more > 0; more--) {
            run(connection, "SELECT sum(hits) FROM tally WHERE n < 10", null, -1);
            Thread.sleep(gap);
        }
        run(connection, "UPDATE tally SET hits = hits + 1 WHERE n = ?", null, lane);
        Thread.sleep(gap);
        connection.commit();
        say(String.format("C %s\nT %s %.1f %.1f", name, name, began, nowMs()));
    }

    static void work(BlockingQueue<Connection> pool, int lane) {
        for (int turn = 1; !stopping; turn++) {
            String name = PID + "." + lane + "." + turn;
            try {
                Connection connection = pool.take();
                transaction(connection, lane, name);
                pool.put(connection);
            } catch (Exception error) { // whatever it is: the app saw an error
                say("E " + name + " " + String.valueOf(error.getMessage()).split("\n")[0]);
                return;
            }
        }
    }

    static void finish(Thread[] threads, BlockingQueue<Connection> pool) {
        stopping = true;
        try {
            for (Thread thread : threads) thread.join();
            for (Connection connection : pool) connection.close();
        } catch (Exception error) {
            say("E hook " + error.getMessage());
        }
    }

    public static void main(String[] words) throws Exception {
        String path = System.getenv("JOURNAL");
        journal = new FileOutputStream(path == null ? "/dev/null" : path, true);
        BlockingQueue<Connection> pool = new ArrayBlockingQueue<>(LANES);
        for (int lane = 0; lane < LANES; lane++) pool.put(connect());
        Thread[] threads = new Thread[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            final int number = lane;
            threads[lane] = new Thread(() -> work(pool, number));
            threads[lane].start();
        }
        if (number("HOOK", 0) == 1) Runtime.getRuntime().addShutdownHook(new Thread(() -> finish(threads, pool)));
        say("O ready " + PID);
    }
}
