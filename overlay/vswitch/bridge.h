// One bridge of Open vSwitch: its ports, through the database of ovs-vswitchd, and its flows,
// through OpenFlow. What is in it and is not marked as Homeport's is other people's: it can be
// looked at here and not be changed.
#pragma once

#include "overlay/link/unique_fd.h"
#include "policy/address.h"
#include "policy/error.h"

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace homeport::overlay::vswitch {

using policy::Result;

struct BridgeOptions {
  std::string database = "unix:/run/openvswitch/db.sock";
  std::string name = "br-int";
  /// The bridge's OpenFlow management socket, of which ovs-vswitchd makes one for each bridge.
  /// ovs-vswitchd's pid file and control socket are looked for in the same directory.
  std::string management = "unix:/run/openvswitch/br-int.mgmt";
  std::string datapath_type = "system";  ///< "netdev": the datapath in ovs-vswitchd itself
  /// How long one call may wait for ovs-vswitchd and its database; 1 ms more for each flow to
  /// change.
  std::chrono::milliseconds patience{3000};
  /// After how long without an answer it is called silent, where packets are answered
  /// (Bridge::answer_punted()): a busy machine may have it wait for a processor.
  std::chrono::milliseconds silence{1000};
};

struct BridgePort {
  std::string name;
  std::string type;          ///< "" for a network device, "vxlan" for a tunnel
  std::string owner;         ///< Why Homeport has put it there; empty for other people's.
  std::string options;       ///< "key=value", in order of the keys, separated by commas.
  std::string error;         ///< Why ovs-vswitchd cannot use it; empty when it can.
  std::int64_t number = -1;  ///< Its OpenFlow port; -1 while it has none.
  bool operator==(const BridgePort&) const = default;
};

struct FlowKey {
  std::uint8_t table = 0;
  std::uint16_t priority = 0;
  std::string match;  ///< In the words of ovs-fields(7); empty: every packet.
  auto operator<=>(const FlowKey&) const = default;
};

struct FlowBody {
  std::uint64_t cookie = 0;
  std::string actions;  ///< In the words of ovs-actions(7).
  bool operator==(const FlowBody&) const = default;
};

struct FlowCounts {
  std::uint64_t packets = 0, bytes = 0;
};

struct Flow {
  FlowKey key;
  FlowBody body;
  FlowCounts counts;
};

/// What flows are, whatever they have counted, in few bytes: the same of the same, in any order.
struct FlowDigest {
  std::uint64_t flows = 0;  ///< How many,
  std::uint64_t low = 0, high = 0;
  bool operator==(const FlowDigest&) const = default;
};

struct FlowChange {
  FlowKey key;
  FlowBody body;  ///< Of a flow to remove only the cookie, which it must have.
  bool remove = false;
};

/// Drops what is more than so many packets a second of those that refer to it.
struct Meter {
  std::uint32_t id = 0;
  std::uint32_t rate = 0;     ///< Packets a second, and as many at once. 0: it is of another form.
  std::uint64_t dropped = 0;  ///< Where counts were asked for.
};

/// A packet that a flow has handed to the agent by controller(id=...).
struct PuntedPacket {
  std::uint64_t cookie = 0;  ///< Of the flow.
  std::string_view tag;      ///< The action's userdata.
  std::string_view frame;    ///< As the flow had it, up to the action's max_len.
  std::size_t length = 0;    ///< Of all of it.
  std::size_t room = 0;      ///< How many frames can be sent now; of more the rest is lost.
  /// The tunnel's outer addresses, as the flow had them; unspecified where it has none.
  policy::IpAddress tunnel_source = {}, tunnel_destination = {};
};
/// Frames to send for it, of at most 60,000 bytes each, in that order.
struct PuntedReply {
  std::vector<std::string> frames;
  /// In which table they go on, with the packet's port, network (reg0) and tunnel destination.
  /// None: out of the port that the packet came from.
  std::optional<std::uint8_t> table = {};
};
/// Called on the thread that has the connections of Open vSwitch: must neither block nor throw.
using PuntedAnswer = std::function<PuntedReply(const PuntedPacket&)>;

/// A frame that has come through a tunnel.
struct Arrival {
  std::uint16_t port = 0;  ///< the tunnel's OpenFlow port
  std::uint64_t key = 0;
  std::string_view frame;
};
/// What is in a datagram, if anything. Called as PuntedAnswer is.
using ArrivalReader = std::function<std::optional<Arrival>(std::string_view datagram)>;

/// How a frame goes into a tunnel.
struct Departure {
  std::uint8_t table = 0;  ///< that sends it there
  std::uint64_t key = 0;
  policy::IpAddress source, destination;  ///< of the outer packet, of the same family
};
/// The frame, made when it is sent. Called as PuntedAnswer is.
using FrameMaker = std::function<std::string()>;

/// Used from one thread. Calls wait for ovs-vswitchd, no longer than the options' patience, and
/// then fail with an error that says so. Where packets are answered (answer_punted()), ovs-vswitchd
/// is asked twice a second whether it answers, for which nobody waits: while it has not for the
/// options' `silence`, calls fail at once, and none begins to wait for longer than that.
class Bridge {
 public:
  /// Connects when first used.
  explicit Bridge(BridgeOptions options);
  ~Bridge();
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  const BridgeOptions& options() const { return options_; }

  /// Makes the bridge if there is none. Errors: it has another datapath type, ovs-vswitchd does not
  /// answer.
  Result<void> ensure();
  Result<std::vector<BridgePort>> ports();
  /// The same without waiting for anybody: nullopt where that cannot be told, or the bridge is not
  /// there as ensure() leaves it.
  std::optional<std::vector<BridgePort>> ports_at_hand();
  /// Whether this or another bridge of the same switch has that device, their own ones included.
  /// Waits for nobody, as above: false where that cannot be told.
  bool has_device_at_hand(const std::string& device);
  /// Adds and removes ports, of which only Homeport's are removed, and returns when ovs-vswitchd
  /// has followed. With no changes it looks at its devices again.
  Result<void> change_ports(const std::vector<BridgePort>& added,
                            const std::vector<std::string>& removed);

  /// Whether NORMAL and FLOOD, in whosever flows, send to a port what they send to all: by OpenFlow
  /// port. Returns those that were not as wanted; one that is not there is left out. To be said
  /// again when ovs-vswitchd has been started again. It must speak OpenFlow 1.0 too.
  Result<std::vector<std::int64_t>> set_flooding(const std::map<std::int64_t, bool>& ports);
  /// Returns those that set_flooding() would, and changes nothing.
  Result<std::vector<std::int64_t>> other_flooding(const std::map<std::int64_t, bool>& ports);

  /// Flows whose cookie is `cookie` in the bits of `mask`, of one table or of all (255).
  Result<std::vector<Flow>> flows(std::uint64_t cookie, std::uint64_t mask,
                                  std::uint8_t table = kAllTables);
  /// Of all tables, with what digest() would have told at that moment.
  Result<std::pair<std::vector<Flow>, FlowDigest>> digested_flows(std::uint64_t cookie,
                                                                  std::uint64_t mask);
  /// Costs less than a tenth of flows().
  Result<FlowDigest> digest(std::uint64_t cookie, std::uint64_t mask);
  /// Those that are in one of these places, whosever they are. Costs a question for each.
  Result<std::vector<Flow>> flows_at(const std::vector<FlowKey>& places);
  /// All of them at one moment, or none. A flow that is there already keeps its counts.
  Result<void> change_flows(const std::vector<FlowChange>& changes);

  /// Returns when no packet is handled any more by what the datapath had cached before the last
  /// change_flows(). `same` is a flow that is there: it is written once more.
  Result<void> wait_revalidated(const Flow& same);
  /// The flows in the words in which flows() tells of them.
  Result<std::vector<Flow>> canonical(const std::vector<Flow>& flows);

  /// All meters of the bridge: what they are set to, or with `counts` what they have dropped.
  Result<std::vector<Meter>> meters(bool counts);
  Result<void> add_meter(const Meter& meter);
  Result<void> modify_meter(const Meter& meter);
  /// The flows that refer to it go with it.
  Result<void> remove_meter(std::uint32_t id);

  /// What `ovs-appctl COMMAND ARGUMENTS` of its ovs-vswitchd prints. Errors: what it says is wrong.
  /// From any thread.
  Result<std::string> ask(const std::string& command, const std::vector<std::string>& arguments);

  /// What the switch says becomes of a packet, given in the words of ovs-ofctl(8): as
  /// `ovs-appctl ofproto/trace` prints it. From any thread.
  Result<std::string> trace(const std::string& flow);

  /// From now on packets that flows hand to the controller of that number are answered, as soon as
  /// ovs-vswitchd can be reached and again whenever it comes back. Said once.
  void answer_punted(std::uint16_t controller, PuntedAnswer answer);

  /// From now on datagrams of this UDP socket go on in table 0, as if they had come through the
  /// tunnel from where they come from. After answer_punted(), said once. The socket must not block.
  void take_datagrams(UniqueFd socket, ArrivalReader reader);

  /// Has a frame go on in that table, soon. Waits for nobody: what ovs-vswitchd does not take, or
  /// cannot send, is lost. After answer_punted().
  void send(const Departure& way, FrameMaker frame);

  static constexpr std::uint8_t kAllTables = 255;

 private:
  class Replica;
  struct FlowFilter {
    std::uint64_t cookie, mask;
    std::uint8_t table = kAllTables;
  };
  Result<void> dump(const FlowFilter& filter, std::vector<Flow>* flows, FlowDigest* digest);
  Result<std::vector<std::int64_t>> flooding(const std::map<std::int64_t, bool>& ports, bool set);
  Result<void> set_meter(int command, const Meter& meter);
  /// As on_thread(), for what has to wait for ovs-vswitchd.
  Result<void> with_daemon(const std::function<Result<void>(Replica&, long long deadline)>& action);
  Result<void> on_thread(const std::function<Result<void>(Replica&, long long deadline)>& action);

  const BridgeOptions options_;
  std::shared_ptr<Replica> replica_;
};

}  // namespace homeport::overlay::vswitch
