// The control database as this host sees it: a typed copy that follows the server, and the
// operations of an agent and of the command line on it.
//
// Everything runs on the executor given (the control io_context). The copy is the truth to act on
// only while synced(); when the server is away it stays as it was last seen.
#pragma once

#include "agent/control/bindings.h"
#include "agent/control/records.h"
#include "overlay/ovsdb/session.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace homeport::agent {

using overlay::ovsdb::Outcome;

/// The tables, keyed by name where they have one, else by row. Rows that do not parse are not in
/// here: they are in `problems`, so that one bad row does not stop the rest. So are rows of which
/// only a part is left out (records.h).
struct Contents {
  std::map<std::string, Host> hosts;
  std::map<std::string, HostStatus> host_status;  ///< by host
  std::map<Uuid, Interface> interfaces;
  std::map<std::string, Network> networks;
  Bindings bindings;
  std::map<std::string, Application> applications;
  std::map<std::string, Policy> policies;
  std::map<policy::TrafficClass, PathPolicyRow> path_policies;
  std::map<Uuid, Task> tasks;
  std::map<Uuid, TaskStatus> task_status;                          ///< by Task::uuid
  std::map<std::pair<std::string, Uuid>, policy::Error> problems;  ///< by table and row

  std::vector<const Binding*> bindings_of(std::string_view application) const {
    return bindings.of(application);
  }
};

/// What a batch of changes was about.
struct Changes {
  /// Too much to name: everything may have changed, and the rest says nothing.
  bool all = true;
  /// Bindings that came, changed or went, by name, as they were before; nullopt: there was none.
  std::map<std::string, std::optional<Binding>> bindings;
  std::set<std::string> applications;         ///< Those of which the row did, by name.
  std::set<std::string, std::less<>> tables;  ///< Those of which any row changed.
};

/// Who owns an application, judged by all of its bindings together.
struct Ownership {
  enum class Kind {
    owned,         ///< Every binding names the same location and generation.
    nowhere,       ///< It has bindings, and all have an empty location.
    inconsistent,  ///< Bindings differ: somebody wrote them one by one.
    unknown        ///< No such application, or it has no binding.
  } kind = Kind::unknown;
  std::string location;
  policy::Generation generation = 0;
};
Ownership ownership(const Contents& contents, std::string_view application);

/// How long it is between two signs of life of a host, in a fleet of so many: 10 s, and in a large
/// one as much longer as makes 25 a second of all of them. The server looks at all of its
/// connections for each, and in a cluster each is an entry of the log that others wait for.
std::chrono::milliseconds beat_interval(std::size_t hosts);
/// How old a host's sign of life may be for it to count as alive: three of its intervals, and one
/// for clocks that differ.
std::chrono::milliseconds alive_within(std::size_t hosts);

/// Signs of life of a fleet are given at this many moments of an interval, each host's at one of
/// them. What comes together, the server looks at together; with few moments a move waits behind
/// many of them.
inline constexpr int kBeats = 250;

/// How long from `now` until the next sign of life of `host`: from interval / kBeats up to that and
/// the interval. By the wall clock; hosts whose clocks differ only come at moments of their own.
std::chrono::milliseconds until_next_beat(WallTime now, std::string_view host,
                                          std::chrono::milliseconds interval);

/// What tells that a host is alive: its last sign of life is young by the clock here, or a new one
/// came while somebody listened. The latter counts, because clocks of two machines may be hours
/// apart.
struct SignsOfLife {
  SignsOfLife(WallTime now_here, std::set<std::string> heard_of = {})  // NOLINT: a time will do
      : now(now_here), heard(std::move(heard_of)) {}
  WallTime now;
  std::set<std::string> heard;
};

/// Whether nothing has been heard of `host` for longer than that.
bool is_silent(const Contents& contents, const std::string& host, const SignsOfLife& signs);

/// Where the agent of `host` answers other agents; empty when the database does not say.
std::vector<Endpoint> control_endpoints(const Contents& contents, const std::string& host);

/// Whether the control database says that `host` takes part in moves: others ask it before they
/// involve a host in anything.
bool told_ready(const Contents& contents, const std::string& host);

/// What `host` wrote about tasks that have ended and that whoever asked for them has deleted.
std::vector<const TaskStatus*> abandoned_status(const Contents& contents, std::string_view host);

/// What the contents say about a commit_move() or roll_back_move() whose outcome was unknown.
enum class MoveTruth {
  untouched,    ///< Still (from, generation): it did not happen; a roll-back may be tried.
  moved,        ///< (to, generation + 1): the move is committed.
  rolled_back,  ///< (from, generation + 1): the roll-back is committed.
  superseded    ///< Anything else: somebody else has written since. Neither happened last.
};
MoveTruth read_move(const Contents& contents, std::string_view application, std::string_view from,
                    std::string_view to, policy::Generation generation);

/// The rows of an application, as told by whoever has read them.
struct KnownRows {
  std::optional<Uuid> application;
  std::vector<Uuid> bindings;
  bool operator==(const KnownRows&) const = default;
};

/// What a controller says of an interface, with all of its addresses. What is not given stays.
struct InterfaceSay {
  std::optional<std::int64_t> cost = {};
  std::optional<std::string> label = {};  ///< empty: none
  /// None: whatever the configuration of the host says.
  std::optional<std::optional<bool>> allowed = {};
  std::optional<std::int64_t> bulk_limit_mbps = {};  ///< 0: none
};

struct DatabaseOptions {
  overlay::ovsdb::SessionOptions session;
  /// The host that has to do with what is followed (interest.h); empty: everything is followed, as
  /// the command line does.
  std::string host;
  /// How long what has concerned the host is followed after it has left. Hosts that have not heard
  /// of a move send here that long, and it is sent on.
  std::chrono::seconds linger{300};
  /// VNIs of the networks that this host's datapath carries when the agent starts.
  std::set<policy::Vni> carried;
  /// How long an operation waits for the database to be in sync, and in doubt for it to come back.
  std::chrono::milliseconds operation_timeout{30000};
};

class ControlDatabase {
 public:
  /// Throws like overlay::ovsdb::Session.
  ControlDatabase(boost::asio::any_io_executor executor, DatabaseOptions options);
  ~ControlDatabase();
  ControlDatabase(const ControlDatabase&) = delete;
  ControlDatabase& operator=(const ControlDatabase&) = delete;

  /// Called once per batch of changes, however many rows are in it, and only once the first full
  /// contents are there; set before start().
  void on_change(std::function<void()> callback);
  /// Called when the database comes into sync or is lost; set before start().
  void on_state(std::function<void(bool synced)> callback);
  /// Asked for the applications that are here whatever the database says; set before start().
  void follow_too(std::function<std::set<std::string>()> applications);
  /// The application is about to come here: what concerns it is read, by the rows that are told,
  /// which costs the server next to nothing. What is not found by them is searched for by name.
  /// Counts for kExpected. Beyond kMostExpected at a time it is left out.
  void expect(const std::string& application, KnownRows rows);
  static constexpr std::chrono::seconds kExpected{60};
  static constexpr std::size_t kMostExpected = 256;
  void start();
  /// To be called now and then: asks follow_too() again, and gives up what has left long ago.
  void review_interest();

  /// For on_change(): what has changed since it was last called.
  const Changes& changes() const;
  /// True once everything that concerns the host has been read, while the connection stands.
  bool synced() const;
  /// Synced, and nothing that the rows at hand say is of concern is still on its way.
  bool settled() const;
  /// Like overlay::ovsdb::Session.
  std::string problem() const;
  /// How often synced() has become false.
  std::uint64_t disconnections() const;
  boost::asio::awaitable<policy::Result<void>> wait_synced(std::chrono::milliseconds timeout);
  const Contents& contents() const;
  const std::map<std::string, Host>& hosts() const { return contents().hosts; }
  const std::map<std::string, HostStatus>& host_status() const { return contents().host_status; }
  const std::map<std::string, Network>& networks() const { return contents().networks; }
  const std::map<std::string, Application>& applications() const { return contents().applications; }
  const std::map<std::string, Policy>& policies() const { return contents().policies; }
  const std::map<Uuid, Task>& tasks() const { return contents().tasks; }
  const std::map<Uuid, TaskStatus>& task_status() const { return contents().task_status; }

  // --- An agent's own rows. Idempotent: repeated until they are in, within operation_timeout.
  boost::asio::awaitable<policy::Result<void>> publish_host(Host host);
  /// Replaces this host's rows: inserts, updates and deletes what differs.
  boost::asio::awaitable<policy::Result<void>> publish_interfaces(
      std::string host, std::vector<Interface> interfaces);
  boost::asio::awaitable<policy::Result<void>> publish_status(HostStatus status);
  /// Publishes what `status` returns with a fresh last_seen now, on every return of the database
  /// and at the host's moment of every interval (until_next_beat()), until cancelled. One small
  /// ephemeral write each. Without an interval: beat_interval().
  boost::asio::awaitable<void> keep_alive(std::function<HostStatus()> status,
                                          std::optional<std::chrono::milliseconds> interval = {});
  /// Inserts or updates the Task_Status row of status.task.
  boost::asio::awaitable<policy::Result<void>> write_task_status(TaskStatus status);

  // --- The move's fence. ONE transaction over every binding of the application, which requires
  // location = from and generation = g in each. Sent once, never repeated: `unknown` is for the
  // caller to settle (wait_synced(), read_move(), roll_back_move()). An `unknown` that the contents
  // already settle is reported as what they say.
  /// Writes location = to, generation = g + 1.
  boost::asio::awaitable<policy::Result<Outcome>> commit_move(std::string application,
                                                              std::string from, std::string to,
                                                              policy::Generation generation);
  /// Writes generation = g + 1 and leaves the location.
  boost::asio::awaitable<policy::Result<Outcome>> roll_back_move(std::string application,
                                                                 std::string from,
                                                                 policy::Generation generation);

  // --- For whoever asks: the command line, tests.
  /// Returns the new row's UUID (task.uuid when that is set). Checked with check_task() first.
  boost::asio::awaitable<policy::Result<Uuid>> insert_task(Task task);
  boost::asio::awaitable<policy::Result<void>> request_cancel(Uuid task);
  boost::asio::awaitable<policy::Result<void>> resolve_task(Uuid task, Resolution resolution);
  /// Deletes a task and its status.
  boost::asio::awaitable<policy::Result<void>> remove_task(Uuid task);
  /// Deletes the rows of abandoned_status().
  boost::asio::awaitable<policy::Result<void>> remove_abandoned_status(std::string host);
  /// Insert, or update the row of that name. A Binding's location and generation are written only
  /// when it is inserted.
  boost::asio::awaitable<policy::Result<void>> put_network(Network network);
  boost::asio::awaitable<policy::Result<void>> put_application(Application application);
  boost::asio::awaitable<policy::Result<void>> put_binding(Binding binding);
  boost::asio::awaitable<policy::Result<void>> put_policy(Policy policy);
  /// Has `change` change what is asked of the paths of these classes, in one transaction. It may be
  /// called several times, with rows as they are by then; a class without one has an empty row, and
  /// a row that is left empty goes.
  boost::asio::awaitable<policy::Result<void>> change_path_policies(
      std::vector<policy::TrafficClass> classes, std::function<void(PathPolicyRow&)> change);
  /// `no_such_file_or_directory` when the host has no such interface.
  boost::asio::awaitable<policy::Result<void>> say_of_interface(std::string host, std::string name,
                                                                InterfaceSay say);
  /// `no_such_file_or_directory` when there is none; `device_or_resource_busy` when another row
  /// refers to it.
  boost::asio::awaitable<policy::Result<void>> remove_network(std::string name);
  boost::asio::awaitable<policy::Result<void>> remove_application(std::string name);
  boost::asio::awaitable<policy::Result<void>> remove_binding(std::string name);
  boost::asio::awaitable<policy::Result<void>> remove_policy(std::string name);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace homeport::agent
