// One application on its way to this host: what destination_machine.h decides, carried out. Its
// steps are in incoming_receive.cc, until it is held, and incoming_outcome.cc, from then on.
#pragma once

#include "migration/move/destination_machine.h"
#include "migration/move/edges.h"
#include "migration/move/journal.h"
#include "migration/move/lane_receiver.h"
#include "migration/move/move.pb.h"
#include "migration/vm/qemu_driver.h"
#include "overlay/channel/channel.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace homeport::migration {

/// What the destination needs of the rest of the agent.
struct DestinationContext {
  boost::asio::any_io_executor executor;  ///< the control executor
  std::string host;                       ///< this host's name
  QemuDriver& driver;
  Traffic& traffic;
  Ownership& ownership;
  const Journal& journal;
  LaneReceiver& lanes;
  boost::asio::any_io_executor lane_executor;                  ///< where `lanes` lives
  std::vector<boost::asio::ip::tcp::endpoint> lane_endpoints;  ///< told to sources
  std::size_t max_moves = 4;                                   ///< received at a time

  /// Whether the control database bears out what a source says it moves here; fills in the devices
  /// of its ports. May wait a moment for the database to catch up.
  std::function<boost::asio::awaitable<Result<std::vector<PortSpec>>>(std::string source,
                                                                      const Prepare& request)>
      admit;
  /// Whether an application runs here.
  std::function<bool(const std::string& application)> runs;
  /// The guest runs here now.
  std::function<void(std::string application, std::shared_ptr<Vm> vm)> arrived;
  /// It does, and `source` has signed this about it (SourceContext::vouch).
  std::function<void(const std::string& source, const Resume& told)> vouched;
};

/// Used on the control executor only.
class IncomingMove : public std::enable_shared_from_this<IncomingMove> {
 public:
  /// `entry` says what is known: all of it for a move taken up again, where `phase` is what the
  /// last agent got to.
  IncomingMove(std::shared_ptr<const DestinationContext> context, JournalEntry entry,
               bool known = true);

  const JournalEntry& entry() const { return entry_; }
  DestinationState state() const { return machine_.state(); }
  /// False while it is not known yet what the last agent left: nothing is decided until then.
  bool known() const { return known_; }
  bool finished() const { return machine_.state() == DestinationState::finished; }
  /// The source has not heard yet what became of it, and its channel is there to tell it.
  bool source_waits() const { return source_waits_; }
  void set_source_waits(bool waits) { source_waits_ = waits; }

  /// Makes room: memory, ports, the paused guest, lanes; of ports alone, their devices must be
  /// there and up. On failure nothing is left.
  boost::asio::awaitable<Result<void>> prepare(const Prepare& request);
  /// Lets in again what is redirected here, for a move taken up again: before the network first
  /// follows the control database, which would take the ports away.
  void hold_ports();
  /// Finds again what the last agent made.
  boost::asio::awaitable<void> take_up();

  /// Loads device state into the guest: `first` and what follows on `channel`, until its end.
  boost::asio::awaitable<Result<void>> load(overlay::Channel& channel,
                                            std::vector<std::byte> first);
  /// The source has nothing to send before this host holds the ports.
  boost::asio::awaitable<Result<void>> get_ready();

  /// Goes back if nothing is complete here yet: the source hears why.
  void give_up(std::string why);

  /// Reports an event and carries out what follows from it.
  boost::asio::awaitable<void> on(DestinationEvent event);
  /// on(told_to_resume), and what became of the guest.
  boost::asio::awaitable<ToSource> resume();
  /// on(called_off), and done.
  boost::asio::awaitable<ToSource> call_off(std::string reason);

 private:
  boost::asio::awaitable<Result<void>> make_room(const Prepare& request);
  Result<void> hold_devices();
  Result<void> check_devices() const;
  boost::asio::awaitable<Result<void>> begin_holding();
  boost::asio::awaitable<Result<void>> prime_taps(const std::vector<overlay::UniqueFd>& queues);
  boost::asio::awaitable<Result<LaneTarget>> map_memory(const Prepare& request);

  boost::asio::awaitable<void> activate();
  boost::asio::awaitable<std::string> run_guest();
  boost::asio::awaitable<bool> never_ran(Vm& vm);
  boost::asio::awaitable<void> hand_back(std::string reason);
  boost::asio::awaitable<void> discard();
  boost::asio::awaitable<void> end_guest();
  boost::asio::awaitable<void> remove_guest();

  /// For the lanes' executor.
  static boost::asio::awaitable<void> forget_lanes(
      std::shared_ptr<const DestinationContext> context, std::string move_id);
  boost::asio::awaitable<void> wait_finished();
  void take_addresses();
  void remove_journal();
  void watch_guest();
  void fail(std::string problem);

  std::shared_ptr<const DestinationContext> context_;
  JournalEntry entry_;
  DestinationMachine machine_;
  std::shared_ptr<Vm> vm_;  ///< empty where the guest has ended, or only ports move
  bool known_ = true;
  bool preparing_ = false;
  bool source_waits_ = false;
  std::vector<overlay::UniqueFd>
      queues_;               ///< of its taps, from the guest's end to that of the move
  std::string problem_;      ///< the first thing that went wrong here, for the source
  std::string handed_back_;  ///< why, if it was
  std::string called_off_;   ///< why, if it was
  // They never expire; cancelled when it is so.
  boost::asio::steady_timer prepared_, finished_;
};

}  // namespace homeport::migration
