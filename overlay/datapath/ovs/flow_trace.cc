#include "overlay/datapath/ovs/flow_trace.h"

#include "overlay/datapath/datapath.h"
#include "overlay/datapath/ovs/bytes.h"
#include "overlay/datapath/ovs/pipeline.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <utility>

namespace homeport::overlay::ovs {

using vswitch::FlowKey;

namespace {

std::size_t indent_of(std::string_view line) {
  const auto at = line.find_first_not_of(' ');
  return at == line.npos ? line.size() : at;
}

/// What follows `key` up to a character of `ends`; empty: it is not there.
std::string after(std::string_view text, std::string_view key, std::string_view ends = ",") {
  const auto at = text.find(key);
  if (at == text.npos) return {};
  const std::string_view rest = text.substr(at + key.size());
  return std::string(rest.substr(0, rest.find_first_of(ends)));
}

/// "200. reg0=0x2a, priority 1, cookie 0x4850...", "202. No match."; nullopt: it is another line.
std::optional<MetFlow> read_flow(std::string_view line) {
  unsigned table = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), table);
  if (error != std::errc() || table > 255) return std::nullopt;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  if (!line.starts_with(". ")) return std::nullopt;
  line.remove_prefix(2);
  MetFlow flow;
  flow.key.table = static_cast<std::uint8_t>(table);
  if (line.starts_with("No match")) {
    flow.found = false;
    return flow;
  }
  const auto at = line.rfind("priority ");
  if (at == line.npos) return std::nullopt;
  flow.key.match = std::string(line.substr(0, at >= 2 ? at - 2 : 0));
  flow.key.priority = static_cast<std::uint16_t>(
      std::strtoul(after(line.substr(at), "priority ").c_str(), nullptr, 10));
  flow.cookie = std::strtoull(after(line.substr(at), "cookie ").c_str(), nullptr, 0);
  return flow;
}

std::optional<std::int64_t> number_of(const std::string& text) {
  if (text.empty()) return std::nullopt;
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 0);
  return *end ? std::nullopt : std::optional<std::int64_t>(value);
}

const char* name_of(std::int64_t counter) {
  static const std::map<std::int64_t, const char*> names = {
#define X(name) {static_cast<std::int64_t>(Counter::name), #name},
      HOMEPORT_OVS_COUNTERS(X)
#undef X
  };
  auto found = names.find(counter);
  return found == names.end() ? nullptr : found->second;
}

/// The step that a table is of; none: it only leads on.
std::string_view step_of(std::uint8_t table, const TraceOrigin& origin) {
  switch (table) {
    case kEntry:
      return std::holds_alternative<FromPort>(origin)   ? "port"
             : std::holds_alternative<FromHost>(origin) ? "route"
                                                        : "vtep";
    case kFromPort:
    case kSource:
    case kSender:
    case kPeer:
      return "source";
    case kFromTunnel:
      return "vtep";
    case kAddress:
    case kLeave:
      return "destination";
    case kArrived:
      return "held";
    case kGroup:
    case kOther:
    case kMember:
    case kCopy:
      return "group";
    case kNeighbor:
      return "neighbor";
    case kRouter:
    case kHop:
      return "router";
    case kFromHost:
      return "route";
    case kHome:
      return "host";
    case kDeliver:
    case kToHost:
    case kTunnel:
      return "delivery";
    case kClass:
      return "class";
    case kPath:
      return "path";
    case kLabel:
    case kRelay:
      return "label";
    default:
      return {};
  }
}

class Teller {
 public:
  Teller(const FlowTrace& printed, const TraceSurroundings& around, const TraceOrigin& origin,
         const TracedPacket& packet)
      : printed_(printed), around_(around), origin_(origin) {
    trace().packet = packet;
    if (const auto* tunnel = std::get_if<FromTunnel>(&origin)) trace().vni = tunnel->vni;
  }

  ToldTrace take() {
    words_.resize(printed_.flows.size());
    steps_.resize(printed_.flows.size());
    taken_.resize(printed_.flows.size());
    for (const TraceLine& line : printed_.lines) {
      if (line.action.empty()) {
        const MetFlow& flow = printed_.flows[line.flow];
        taken_[line.flow] = (!flow.from || taken_[*flow.from]) && meet(flow, line.flow);
      } else if (taken_[line.flow]) {
        act(line.action, line.flow);
      }
    }
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (steps_[i] == 0) continue;
      trace().steps[steps_[i] - 1].found = fmt::format("{}", fmt::join(words_[i], "; "));
    }
    finish();
    return std::move(told_);
  }

 private:
  Trace& trace() { return told_.trace; }
  void count(std::string name) { trace().counters.push_back(std::move(name)); }
  bool to_v6() { return trace().packet.destination.is_v6(); }

  /// Whether the packet really is there: a switch that does not know its length goes both ways.
  bool meet(const MetFlow& flow, std::size_t index) {
    const std::uint8_t table = flow.key.table;
    std::string_view step = step_of(table, origin_);
    if (ways_left_ > 0 && (table == kFit || table == kSpread)) {
      const bool too_big_way = ways_left_-- == 2;
      if (too_big_way ? !larger_ : larger_ && !cut_) return false;
      if (too_big_way) step = "size";
    }
    if (flow.found && (flow.cookie & kCookieMask) == kCookie) told_.flows.push_back(flow.key);
    if ((table == kPath || table == kLabel || table == kClass) && !decides(flow)) return true;
    if (table == kCopy) copied_ = true;
    if (table == kLeave) {
      trace().end = TraceEnd::normal;
      normal_ = true;
    }
    if (table == kCount) count_by(flow);
    if (step.empty()) return true;
    std::string entry = fmt::format("table={}", table);
    if (flow.found) {
      entry += fmt::format(" cookie={:#x} priority={}{}{}", flow.cookie, flow.key.priority,
                           flow.key.match.empty() ? "" : ",", flow.key.match);
      words_[index].push_back(owner_of(flow));
    } else {
      words_[index].push_back("no flow takes it");
    }
    trace().steps.push_back({step, std::move(entry), {}});
    steps_[index] = trace().steps.size();
    return true;
  }

  /// Or it takes whatever has no way, and no class, of its own; or there is none.
  static bool decides(const MetFlow& flow) { return flow.found && !flow.key.match.empty(); }

  std::string owner_of(const MetFlow& flow) const {
    if ((flow.cookie & kCookieMask) != kCookie) return "a flow of somebody else";
    if (!around_.left) return "of Homeport";
    auto found = around_.left->find(flow.key);
    if (found == around_.left->end()) return "under Homeport's cookie, and not the agent's";
    return "of " + found->second.owner;
  }

  void count_by(const MetFlow& flow) {
    const auto number = number_of(after(flow.key.match, "reg6="));
    if (const char* name = number ? name_of(*number) : nullptr) count(name);
  }

  void say(std::size_t flow, std::string words) { words_[flow].push_back(std::move(words)); }

  std::string device_of(std::int64_t number) const {
    for (const auto& [device, port] : around_.ports.numbers) {
      if (port == number) return device;
    }
    return fmt::format("the port {}", number);
  }

  void act(const std::string& action, std::size_t flow) {
    const std::string set = after(action, "set_field:", "-");
    if (action.starts_with(">>")) {
      say(flow,
          "the switch: " + action.substr(std::min(action.find_first_not_of("> "), action.size())));
    } else if (const auto vni = key_of(action)) {
      call_it(*vni, flow);
    } else if (printed_.flows[flow].key.table == kPath ||
               printed_.flows[flow].key.table == kLabel) {
      if (action.find("tun_src") != action.npos || action.find("ipv6_src") != action.npos) {
        say(flow, "from " + set);
      } else if (!set.empty()) {
        boost::system::error_code error;
        relaying_ = boost::asio::ip::make_address(set, error);
        say(flow, "to " + set);
      }
    } else if (action.find("->tun_dst") != action.npos ||
               action.find("->tun_ipv6_dst") != action.npos) {
      boost::system::error_code error;
      auto vtep = boost::asio::ip::make_address(set, error);
      if (!error) vtep_ = vtep;
      if (!error) say(flow, "to the host at " + set);
    } else if (action.find("->reg5") != action.npos) {
      if (const auto port = number_of(set)) say(flow, "to " + device_of(*port));
    } else if (action.find("->reg7") != action.npos) {
      if (printed_.flows[flow].key.table == kClass) say(flow, class_of(set));
    } else if (action.find("->reg0") != action.npos && trace().vni == 0) {
      trace().vni = static_cast<policy::Vni>(number_of(set).value_or(0));
      say(flow, fmt::format("in network {}", trace().vni));
    } else if (action.find("->reg6") != action.npos) {
      const auto number = number_of(set);
      if (const char* name = number ? name_of(*number) : nullptr) {
        say(flow, std::string("counted in ") + name);
      }
    } else if (action.starts_with("move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31]")) {
      marked_ = false;
    } else if (action.find("TUN_ID[23]") != action.npos && action.starts_with("load:0x1")) {
      marked_ = true;
    } else if (action.starts_with("check_pkt_larger(") && action.find("REG1[11]") != action.npos) {
      const auto most = number_of(after(action, "check_pkt_larger(", ")"));
      larger_ = most && trace().packet.length + kEthernet > static_cast<std::uint64_t>(*most);
      cut_ = !to_v6() && !trace().packet.dont_fragment;
      ways_left_ = 2;
    } else if (action.starts_with("controller(")) {
      too_big(flow);
    } else if (action == "drop" && printed_.flows[flow].key.table != kCount) {
      say(flow, "dropped");
    } else if (action == "IN_PORT") {
      say(flow, "back to the sender");
      answered_ = true;
    } else if (action.starts_with("output:")) {
      output(number_of(after(action, "output:", " ,(")).value_or(-1), flow);
    }
  }

  static std::string class_of(const std::string& text) {
    const auto number = number_of(text);
    for (const policy::TrafficClass each : policy::kTrafficClasses) {
      if (number == static_cast<std::int64_t>(each)) return std::string(to_string(each));
    }
    return "a class that is none";
  }

  /// What an action makes of the tunnel's key, but for the mark: of what is relayed.
  static std::optional<std::int64_t> key_of(const std::string& action) {
    if (action.find("->NXM_NX_TUN_ID[0..22]") == action.npos) return std::nullopt;
    return number_of(after(action, "load:", "-"));
  }

  void call_it(std::int64_t vni, std::size_t flow) {
    if (printed_.flows[flow].key.table == kRelay) {
      trace().vni = static_cast<policy::Vni>(vni);
      if (const auto* tunnel = std::get_if<FromTunnel>(&origin_)) marked_ = tunnel->marked;
      return say(flow, fmt::format("in network {}", vni));
    }
    // Behind the copy that is relayed it is the network again.
    label_ = is_label(static_cast<policy::Vni>(vni)) ? static_cast<policy::Vni>(vni) : 0;
    if (label_ != 0) say(flow, fmt::format("under the label {}", label_));
  }

  void too_big(std::size_t flow) {
    const std::string length = fmt::format("{} bytes do not fit", trace().packet.length);
    if (cut_) {
      say(flow, length + ": the agent cuts it into fragments");
      count("fragmented");
    } else if (is_group(trace().packet) && !to_v6()) {
      say(flow, length + ", and nobody is told of what is sent to a group");
      count("drop_too_big");
    } else {
      say(flow, length + ": the agent tells the sender");
      count("too_big_answers");
      answered_ = true;
    }
  }

  /// A tunnel of one class.
  bool leads_out(std::int64_t port) const {
    return std::ranges::any_of(around_.ports.class_tunnels,
                               [&](const auto& tunnel) { return tunnel.second == port; });
  }

  void output(std::int64_t port, std::size_t flow) {
    if (port == around_.ports.tunnel || leads_out(port)) {
      say(flow, "through the tunnel");
      if (label_ != 0) {
        trace().copies.push_back({{}, relaying_, marked_, label_});
      } else if (vtep_) {
        trace().copies.push_back({{}, vtep_, marked_});
      }
    } else if (port == around_.ports.host && port != 0) {
      say(flow, "to the host's own processes");
      stack_ = true;
    } else {
      say(flow, "out of " + device_of(port));
      trace().copies.push_back({device_of(port), {}, false});
    }
  }

  void finish() {
    const auto& copies = trace().copies;
    if (normal_) {
      trace().end = TraceEnd::normal;
    } else if (copied_) {
      trace().end = TraceEnd::copied;
    } else if (answered_) {
      trace().end = TraceEnd::answered;
    } else if (stack_) {
      trace().end = TraceEnd::stack;
    } else if (!copies.empty()) {
      trace().end = copies[0].vtep ? TraceEnd::sent : TraceEnd::delivered;
    }
    const std::string& last = printed_.final_flow;
    auto source = policy::MacAddress::parse(after(last, "dl_src="));
    auto destination = policy::MacAddress::parse(after(last, "dl_dst="));
    if (source) trace().packet.source_mac = *source;
    if (destination) trace().packet.destination_mac = *destination;
    if (const auto hops = number_of(after(last, "nw_ttl="))) {
      trace().packet.hops = static_cast<std::uint32_t>(*hops);
    }
  }

  const FlowTrace& printed_;
  const TraceSurroundings& around_;
  const TraceOrigin& origin_;
  ToldTrace told_;
  std::vector<std::vector<std::string>> words_;  ///< by flow
  std::vector<std::size_t> steps_;               ///< by flow, from 1; 0: none
  std::vector<bool> taken_;                      ///< by flow
  bool marked_ = false;
  std::optional<policy::IpAddress> vtep_, relaying_;
  policy::Vni label_ = 0;
  int ways_left_ = 0;
  bool larger_ = false, cut_ = false;
  bool copied_ = false, answered_ = false, stack_ = false, normal_ = false;
};

}  // namespace

std::optional<FlowTrace> read_trace(std::string_view printed) {
  FlowTrace trace;
  struct Open {
    std::size_t flow, indent;
  };
  std::vector<Open> open;
  std::optional<std::size_t> fresh;   // A flow none of whose actions has been seen.
  std::optional<std::size_t> acting;  // The flow of the last action.
  // Where what another bridge does with the tunnel's packet begins, which is in between.
  std::size_t elsewhere = std::string_view::npos;
  bool begun = false;
  while (!printed.empty()) {
    const auto end = std::min(printed.find('\n'), printed.size());
    const std::string_view line = printed.substr(0, end);
    printed.remove_prefix(std::min(end + 1, printed.size()));
    if (line.starts_with("Final flow: ")) {
      if (line != "Final flow: unchanged") trace.final_flow = line.substr(12);
      break;
    }
    begun = begun || line.starts_with("bridge(");
    const std::size_t indent = indent_of(line);
    if (!begun || indent == line.size()) continue;
    const std::string_view text = line.substr(indent);
    // A flow that ends in a resubmit() is followed by the next as far to the left, of which tables
    // of three digits begin the line.
    if (indent == 0 && !read_flow(text)) continue;
    const bool heading = text.starts_with("bridge(");
    if (heading) elsewhere = indent;
    const bool there = elsewhere != text.npos;
    if (heading || (there && indent > elsewhere) || (there && text.starts_with("---"))) continue;
    elsewhere = text.npos;
    if (auto flow = read_flow(text)) {
      // The line before it is the resubmit() that led there.
      flow->from = acting;
      fresh = trace.flows.size();
      trace.lines.push_back({*fresh, {}});
      trace.flows.push_back(std::move(*flow));
    } else if (text.starts_with("->") || text.starts_with(">>")) {
      if (!open.empty()) trace.lines.push_back({open.back().flow, std::string(text)});
    } else {
      while (!open.empty() && open.back().indent > indent) open.pop_back();
      if (fresh) open.push_back({*std::exchange(fresh, std::nullopt), indent});
      if (open.empty()) return std::nullopt;
      acting = open.back().flow;
      trace.lines.push_back({*acting, std::string(text)});
    }
  }
  if (trace.flows.empty()) return std::nullopt;
  return trace;
}

ToldTrace tell(const FlowTrace& printed, const TraceSurroundings& around, const TraceOrigin& origin,
               const TracedPacket& packet) {
  return Teller(printed, around, origin, packet).take();
}

std::optional<policy::MacAddress> answered_mac(const FlowTrace& printed) {
  for (const TraceLine& line : printed.lines) {
    if (line.action.find("->xreg1") == line.action.npos) continue;
    const auto value = number_of(after(line.action, "set_field:", "-"));
    if (!value) continue;
    policy::MacAddress mac;
    for (std::size_t i = 0; i < mac.bytes.size(); ++i) {
      mac.bytes[i] = static_cast<std::uint8_t>(*value >> (40 - 8 * i));
    }
    return mac;
  }
  return std::nullopt;
}

std::string flow_text(const TraceOrigin& origin, const TracedPacket& packet, std::int64_t in_port,
                      const std::optional<policy::IpAddress>& local_vtep) {
  const std::string port = fmt::format("{}", in_port);
  if (const auto* tunnel = std::get_if<FromTunnel>(&origin)) {
    std::string text = openflow_text(origin, packet) + ",in_port=" + port;
    if (local_vtep && local_vtep->is_v6() == tunnel->vtep.is_v6()) {
      text += fmt::format(",tun_{}dst={}", tunnel->vtep.is_v6() ? "ipv6_" : "",
                          local_vtep->to_string());
    }
    return text;
  }
  return openflow_text(FromPort{port}, packet);
}

std::string question_text(const TracedPacket& packet, const policy::IpAddress& hop,
                          std::int64_t in_port) {
  const std::string mac = packet.source_mac.to_string();
  if (hop.is_v4()) {
    return fmt::format(
        "arp,in_port={},dl_src={},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_spa={},"
        "arp_tpa={},arp_sha={}",
        in_port, mac, packet.source.to_string(), hop.to_string(), mac);
  }
  const auto bytes = hop.to_v6().to_bytes();
  const std::string group =
      fmt::format("ff02::1:ff{:02x}:{:02x}{:02x}", bytes[13], bytes[14], bytes[15]);
  return fmt::format(
      "icmp6,in_port={},dl_src={},dl_dst=33:33:ff:{:02x}:{:02x}:{:02x},ipv6_src={},"
      "ipv6_dst={},nw_ttl=255,icmpv6_type=135,icmpv6_code=0,nd_target={},nd_sll={}",
      in_port, mac, bytes[13], bytes[14], bytes[15], packet.source.to_string(), group,
      hop.to_string(), mac);
}

}  // namespace homeport::overlay::ovs
