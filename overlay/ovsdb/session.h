// A session with an OVSDB server (RFC 7047): a replica of the monitored tables that reports what
// changes, and transactions that say truthfully how they ended.
//
// Underneath is the IDL of the Open vSwitch libraries, behind the C shim in shim.h. All sessions of
// a process share one thread for it (thread.h); nothing of it shows here. Rows travel as JSON in
// the notation of RFC 7047, section 5.1. A large update is handed over in slices, so that it does
// not delay a transaction. Callbacks run on the executor given; they must not block.
#pragma once

#include "policy/error.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/uuid/uuid.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay::ovsdb {

using Uuid = boost::uuids::uuid;

struct Row {
  Uuid uuid{};
  boost::json::object columns;  ///< Every column of the table, in the notation of RFC 7047.
};

/// A row as it is now; without `row`, it is gone (or no longer fits the condition).
struct RowChange {
  std::string table;
  Uuid uuid{};
  std::optional<Row> row;
};

/// The row exists and `column` has exactly `value`.
struct Expectation {
  std::string table;
  Uuid uuid{};
  std::string column;
  boost::json::value value;
};

struct Insert {
  std::string table;
  boost::json::object columns;  ///< Columns left out take the schema's default.
  /// Chosen by the caller, so that a repeated insert is refused.
  std::optional<Uuid> uuid;
};

struct Update {
  std::string table;
  Uuid uuid{};
  boost::json::object columns;
};

/// Sets and removes single keys of a map column; the other keys, which somebody else may be writing
/// at this moment, are left alone.
struct MapEdit {
  std::string table;
  Uuid uuid{};
  std::string column;
  std::map<std::string, std::string> set;
  std::vector<std::string> erase;
};

struct Delete {
  std::string table;
  Uuid uuid{};
};

struct Transaction {
  std::vector<Expectation> expectations;
  std::vector<Insert> inserts;
  std::vector<Update> updates;
  std::vector<MapEdit> map_edits;
  std::vector<Delete> deletes;
  std::string comment;  ///< Goes into the database's log.
};

/// How a transaction ended.
enum class Outcome {
  committed,  ///< It is in the database (or there was nothing to change).
  /// Nothing was sent: in the contents at hand an expectation does not hold, a row to change is
  /// gone, or one to insert is there already.
  refused,
  failed,   ///< The server rejected it and said why: nothing was changed.
  unknown,  ///< It may or may not have happened: read again, see Session::transact().
};
const char* to_string(Outcome outcome);

struct TransactResult {
  Outcome outcome = Outcome::unknown;
  std::string message;         ///< A sentence for a person; empty when committed.
  std::vector<Uuid> inserted;  ///< When committed: one per Transaction::inserts, in order.
};

struct TlsFiles {
  std::filesystem::path private_key, certificate, ca_certificate;  ///< PEM
  bool operator==(const TlsFiles&) const = default;
};

/// Monitors the rows of a table for which one of the clauses holds (RFC 7047, section 5.1,
/// <condition>): [column, function, value].
struct Clause {
  std::string column;
  std::string function;  ///< "==", "!=", "includes", "excludes", ...
  boost::json::value value;
  bool operator==(const Clause&) const = default;
};
/// By table. Tables left out: every row; without a clause: none.
using Conditions = std::map<std::string, std::vector<Clause>>;

/// Rows to read once: those for which all of the clauses hold. The server compares every row of the
/// table, unless a clause names `_uuid`.
struct Query {
  std::string table;
  std::vector<Clause> where;
};
struct ReadRequest {
  std::vector<Query> queries;
  /// A row that is known here, and its counter. A server that does not have it, or less, is behind
  /// what has been seen.
  struct Known {
    std::string table;
    Uuid uuid{};
    std::string column;
    std::int64_t least = 0;
  };
  std::vector<Known> known;
};
using Answers = std::vector<std::vector<Row>>;  ///< One for each query, in order.

struct SessionOptions {
  /// One or more of ssl:ADDRESS:PORT, tcp:ADDRESS:PORT, unix:PATH, separated by commas. Of several,
  /// the session keeps to the one that leads the cluster, where there is one (leader_first.h). The
  /// IDL refuses a server that lags behind what it has already seen.
  std::string remotes;
  /// For ssl: remotes. The OVS library keeps one TLS identity per process: a second session with
  /// other files is refused.
  std::optional<TlsFiles> tls;
  /// Silence after which the server is asked for a sign of life; twice that is a lost connection.
  std::chrono::milliseconds probe_interval{5000};
  /// How long the connection of read() stays open after the last answer.
  std::chrono::milliseconds reader_idle{5000};
  Conditions conditions;
  /// Tables to monitor; empty: every table of the schema. Others can neither be read nor updated.
  std::vector<std::string> tables;
  std::size_t slice_rows = 256;  ///< Rows converted before transactions get their turn again.
};

class Session {
 public:
  /// Throws boost::system::system_error when the options cannot work (a file that cannot be read, a
  /// table or column not in the schema). Nothing is connected before start().
  Session(boost::asio::any_io_executor executor, SessionOptions options);
  /// Outstanding transactions end as `unknown`. No callback runs after this.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Slices of changes; after a reconnection only what differs. While `more` is true the changes of
  /// one transaction may be only partly delivered. Set before start().
  void set_on_changes(std::function<void(std::vector<RowChange>, bool more)> callback);
  /// True: connected, and everything the server had has been delivered. Set before start().
  void set_on_state(std::function<void(bool synced)> callback);
  /// The rows of the conditions last set, and only they, have been delivered. Set before start().
  void set_on_conditions(std::function<void()> callback);
  void start();
  /// Takes the place of all conditions before. Rows that fit no more are reported as gone. A
  /// condition that the schema does not allow is logged as an error and left out.
  void set_conditions(Conditions conditions);

  bool synced() const;
  /// Why it is not, as far as the library has said: "ssl:192.0.2.1:6642: connection attempt failed
  /// (Connection refused)". Empty while synced() and before anything has failed.
  std::string problem() const;
  /// Returns when synced() is true, at once when it already is; `timed_out` otherwise.
  boost::asio::awaitable<policy::Result<void>> wait_synced(std::chrono::milliseconds timeout);

  /// Checks the expectations against the replica, has the server verify them once more, and
  /// commits.
  ///
  /// The rows that the transaction names are delivered before its outcome, ahead of other changes:
  /// a reader that acts on an outcome sees what it is based on. `unknown` has two causes that the
  /// IDL reports as one (TXN_TRY_AGAIN): the connection was lost before the answer came, or an
  /// expectation that held here did not hold at the server. After `unknown`, wait_synced() and
  /// read.
  ///
  /// Errors (nothing was sent): `not_connected` when not in sync, `invalid_argument` for a table or
  /// column that does not exist, or a value that does not fit. When the wait is cancelled
  /// (`operation_canceled`) the transaction may or may not happen: treat it as `unknown`.
  boost::asio::awaitable<policy::Result<TransactResult>> transact(Transaction transaction);

  /// Reads rows that no condition asks for, over a connection of its own to one of the servers,
  /// which is made when it is needed and closed a few seconds after. Goes on through interruptions
  /// until it has an answer. Within a cluster an answer is never older than one before.
  ///
  /// Errors: `resource_unavailable_try_again` from a server that is behind (the next attempt goes
  /// to another, if there is one), `invalid_argument` for what the schema does not have.
  boost::asio::awaitable<policy::Result<Answers>> read(ReadRequest request);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace homeport::overlay::ovsdb
