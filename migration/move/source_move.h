// The source's side of one move: what source_machine.h decides, carried out. Its steps are in
// source_copy.cc, while the guest is here, and source_commit.cc, when it is decided who has it.
#pragma once

#include "migration/move/edges.h"
#include "migration/move/journal.h"
#include "migration/move/lane_paths.h"
#include "migration/move/memory_copier.h"
#include "migration/move/move.pb.h"
#include "migration/move/source_machine.h"
#include "migration/vm/vm.h"
#include "overlay/channel/channel.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::migration {

/// Named points of a move, in this order, at which tests can hold it: "requested", "prepared",
/// "copying", "barrier" (guest stopped between two rounds), "redirected", "stopped",
/// "device-state" (sent, its end not said), "commit" (about to be sent), "commit-sent",
/// "committed" (outcome read), "resumed" (at the destination), "settled".
using HoldPoint = std::function<boost::asio::awaitable<void>(std::string_view point)>;

struct SourceContext {
  boost::asio::any_io_executor executor;  ///< the control executor
  std::string host;                       ///< this host's name
  Traffic& traffic;
  Ownership& ownership;
  const Journal& journal;
  overlay::TlsContext tls;
  overlay::PeerCheck peer_check;
  overlay::Timeouts timeouts;
  /// Where a host listens for control channels, by the control database.
  std::function<std::vector<boost::asio::ip::tcp::endpoint>(const std::string& host)> endpoints_of;
  LanePaths* lane_paths = nullptr;  ///< nullptr: none are known, and a move has one lane
  std::shared_ptr<overlay::LaneTraffic> lane_traffic = {};  ///< ConnectOptions::traffic, of lanes
  /// The guest has left this host: forget it and remove what is left of it.
  std::function<void(const std::string& application)> departed;
  /// Reaches the guest again whose monitor's connection was lost; nullptr when it has ended.
  std::function<boost::asio::awaitable<std::shared_ptr<Vm>>(std::string application)> reconnect;
  /// Signed by this host: that the application is at `to` by `generation`, for that host to show
  /// to others. Opaque here, and sent once it is true.
  std::function<std::vector<std::string>(const std::string& application, const std::string& to,
                                         Generation generation)>
      vouch;
  HoldPoint hold;  ///< empty outside of tests
};

struct MoveRequest {
  JournalEntry entry;                     ///< role source; peer is the destination
  std::string application_row;            ///< UUIDs of the control database, as text
  std::vector<std::string> binding_rows;  ///< the same
  std::string launch_profile;
  std::uint64_t memory_mib = 0;
  std::uint32_t vcpus = 1;
  policy::ConvergenceLimits limits;
};

/// How far a move is, at any time; figures are zero until they are known.
struct MoveProgress {
  std::string_view phase;
  CopyProgress memory;
  std::chrono::milliseconds elapsed{};
  std::optional<std::chrono::microseconds> stopped;  ///< from stop to the destination's word
  std::vector<LaneReport> lanes;                     ///< that there are or were
  std::string doubt;  ///< why the guest is held and a person may be needed; empty: it is not
};

struct MoveReport {
  SourceOutcome outcome = SourceOutcome::under_way;
  bool cancelled = false;
  std::string error;  ///< a sentence; empty where it succeeded
  MoveProgress progress;
  std::uint64_t device_state_bytes = 0;
  std::map<std::string_view, std::chrono::milliseconds> phases;  ///< how long it was in each
};

/// Used on the control executor only.
/// `vm` is empty where the move carries nothing but ports.
class SourceMove : public std::enable_shared_from_this<SourceMove> {
 public:
  SourceMove(std::shared_ptr<const SourceContext> context, MoveRequest request,
             std::shared_ptr<Vm> vm);
  /// Takes up a move that a killed agent left; `vm` is empty also where the guest is gone.
  static std::shared_ptr<SourceMove> recovered(std::shared_ptr<const SourceContext> context,
                                               MoveRequest request, std::shared_ptr<Vm> vm);
  ~SourceMove();

  boost::asio::awaitable<MoveReport> run();

  /// Asks for the way back, if it is not too late; false if it is.
  bool cancel();
  /// The same because of `why`, which nobody has asked for: a roll-back, not a cancellation.
  void give_up(std::string why);

  /// A person has decided that the application is the destination's, whatever became of it there:
  /// once the move is committed, what is held here is let go.
  void leave_to_destination() { left_to_destination_ = true; }

  MoveProgress progress() const;
  const JournalEntry& entry() const { return request_.entry; }
  SourceState state() const { return machine_.state(); }

 private:
  using Event = SourceEvent;
  template <class T>
  using Awaitable = boost::asio::awaitable<T>;

  Awaitable<Event> carry_out(SourceAction action);
  Awaitable<Event> prepare_destination();
  Awaitable<Event> copy_rounds();
  Awaitable<Event> check_session();
  Awaitable<Event> redirect();
  Awaitable<Event> drain_receive_queue();
  Awaitable<Event> stop_guest();
  Awaitable<Event> copy_rest();
  Awaitable<Event> send_device_state();
  Awaitable<Event> commit();
  Awaitable<Event> resolve_commit();
  Awaitable<Event> hand_over();
  Awaitable<Event> settle();
  Awaitable<Event> reinstate();
  Awaitable<Event> abort_destination();
  Awaitable<Event> advance_generation();

  Awaitable<policy::Result<ToSource>> ask(ToDestination message);
  Awaitable<policy::Result<void>> prepare_vm();
  Awaitable<policy::Result<Prepared>> ask_for_room(ToDestination message);
  Awaitable<policy::Result<void>> stream_device_state();
  Awaitable<policy::Result<void>> connect();
  Awaitable<void> hold(std::string_view point);
  void sign_handovers();
  void follow_paths();
  void lanes_are(const std::vector<LaneReport>& all);
  void end_copier();
  Awaitable<void> stay_in_doubt(std::string why);
  std::string held_how() const;
  template <class T>
  Awaitable<T> on_bulk(Awaitable<T> work);
  Event fail(const policy::Error& error);
  Event fail(std::string message);

  std::shared_ptr<const SourceContext> context_;
  /// Where memory is read and sent: a thread of this move's own, for what blocks one move must not
  /// lengthen the stop of another. Outlives what runs on it.
  std::optional<boost::asio::thread_pool> bulk_;
  MoveRequest request_;
  std::shared_ptr<Vm> vm_;
  SourceMachine machine_;
  std::shared_ptr<overlay::Channel> channel_;
  std::shared_ptr<MemoryCopier> copier_;
  std::unique_ptr<LanePaths::Following> paths_;  ///< of the lanes, while there are any
  std::vector<LaneReport> lanes_;                ///< as they were reported last
  CopyProgress copied_;                          ///< what it had done, once it is gone
  std::string error_;
  std::string doubt_;
  bool cancelled_ = false;
  bool given_up_ = false;
  bool left_to_destination_ = false;
  bool told_ = false;  ///< The destination may know of this move.
  std::chrono::steady_clock::time_point started_;
  std::optional<std::chrono::steady_clock::time_point> stopped_at_;
  std::optional<std::chrono::microseconds> stopped_;
  std::uint64_t device_state_bytes_ = 0;
  std::vector<std::string> handovers_;  ///< Signed beforehand: not while the guest is stopped.
};

}  // namespace homeport::migration
