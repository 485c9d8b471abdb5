import java.sql.*;
import java.util.*;

/** The JDBC driver: metadata, named statements after five executions, batches, cursors, types. */
public class Jdbc {
  interface Body { Object run() throws Exception; }

  static void test(String name, Body body) {
    System.out.println("== " + name);
    try {
      System.out.println(body.run());
    } catch (SQLException error) {
      System.out.println(error.getSQLState() + " " + error.getMessage().lines().findFirst().orElse(""));
    } catch (Exception error) {
      System.out.println(error);
    }
  }

  static List<List<String>> rows(ResultSet set) throws SQLException {
    var rows = new ArrayList<List<String>>();
    int count = set.getMetaData().getColumnCount();
    while (set.next()) {
      var row = new ArrayList<String>();
      for (int at = 1; at <= count; at++) row.add(set.getString(at));
      rows.add(row);
    }
    return rows;
  }

  public static void main(String[] words) throws Exception {
    var env = System.getenv();
    var url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
    var properties = new Properties();
    properties.setProperty("user", env.get("PGUSER"));
    properties.setProperty("sslmode", "disable");
    try (var db = DriverManager.getConnection(url, properties); var say = db.createStatement()) {
      var meta = db.getMetaData();
      test("tables", () -> say.executeUpdate("create table t (id serial primary key, name varchar(10) not null unique, at timestamptz, data jsonb, tags text[])"));
      test("version", () -> meta.getDatabaseProductName() + " " + meta.getDatabaseMajorVersion());
      test("a batch", () -> {
        try (var insert = db.prepareStatement("insert into t (name, at) values (?, ?)")) {
          for (var name : List.of("a", "b", "c")) {
            insert.setString(1, name);
            insert.setTimestamp(2, new Timestamp(0), Calendar.getInstance(TimeZone.getTimeZone("UTC")));
            insert.addBatch();
          }
          return Arrays.toString(insert.executeBatch());
        }
      });
      test("generated keys", () -> {
        say.executeUpdate("insert into t (name) values ('d')", Statement.RETURN_GENERATED_KEYS);
        return rows(say.getGeneratedKeys()).size();
      });
      test("a statement that is named after five executions", () -> {
        var seen = new ArrayList<Object>();
        try (var query = db.prepareStatement("select ?::int * 2")) {
          for (int n = 1; n <= 8; n++) {
            query.setInt(1, n);
            seen.add(rows(query.executeQuery()));
          }
        }
        return seen;
      });
      test("a cursor by fetch size", () -> {
        db.setAutoCommit(false);
        try (var query = db.createStatement()) {
          query.setFetchSize(3);
          return rows(query.executeQuery("select generate_series(1, 10)")).size();
        } finally {
          db.commit();
          db.setAutoCommit(true);
        }
      });
      test("a savepoint", () -> {
        db.setAutoCommit(false);
        var point = db.setSavepoint();
        try {
          say.executeUpdate("insert into t (name) values ('a')");
        } catch (SQLException expected) {
          db.rollback(point);
        }
        var count = rows(say.executeQuery("select count(*) from t"));
        db.rollback();
        db.setAutoCommit(true);
        return count;
      });
      test("an error", () -> say.executeQuery("select * from nowhere"));
      test("types", () -> rows(say.executeQuery("select 1::int8, 1.10::numeric, true, 'x'::text, '\\x00ff'::bytea, '2020-01-02'::date, array[1,2], '{\"a\":1}'::jsonb, null")));
      test("metadata: columns", () -> {
        var seen = new ArrayList<String>();
        try (var set = meta.getColumns(null, "public", "t", null)) {
          while (set.next()) seen.add(set.getString("COLUMN_NAME") + " " + set.getString("TYPE_NAME") + " " + set.getInt("COLUMN_SIZE") + " " + set.getString("IS_NULLABLE"));
        }
        return seen;
      });
      test("metadata: keys and indexes", () -> {
        var seen = new ArrayList<String>();
        try (var set = meta.getPrimaryKeys(null, "public", "t")) { while (set.next()) seen.add(set.getString("PK_NAME")); }
        try (var set = meta.getIndexInfo(null, "public", "t", false, true)) { while (set.next()) seen.add(set.getString("INDEX_NAME") + set.getBoolean("NON_UNIQUE")); }
        return seen;
      });
      test("metadata: the database", () -> rows(meta.getSchemas()) + " " + rows(meta.getTableTypes()).size());
      test("query timeout", () -> {
        say.setQueryTimeout(1);
        try { return say.executeQuery("select pg_sleep(20)"); } finally { say.setQueryTimeout(0); }
      });
      test("after it", () -> rows(say.executeQuery("select 1")));
      test("read only and isolation", () -> {
        db.setReadOnly(true);
        db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        try { return say.executeUpdate("delete from t"); } finally { db.setReadOnly(false); }
      });
      test("settings of the driver", () -> rows(say.executeQuery("select current_setting('extra_float_digits'), current_setting('DateStyle'), current_setting('application_name')")));
      test("COPY", () -> {
        var copy = db.unwrap(org.postgresql.PGConnection.class).getCopyAPI();
        long count = copy.copyIn("copy t (name) from stdin", new java.io.StringReader("copy 1\ncopy 2\n"));
        var out = new java.io.StringWriter();
        copy.copyOut("copy (select name from t order by id) to stdout", out);
        return count + " " + out;
      });
    }
  }
}
