#include "agent/trace/question.h"

#include "agent/network/desired_state.h"

#include <fmt/format.h>
#include <boost/asio/ip/network_v4.hpp>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace homeport::agent {

namespace {

namespace errc = boost::system::errc;
namespace ip = boost::asio::ip;
using policy::IpAddress;
using policy::Result;

constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58, kSctp = 132;
constexpr std::uint32_t kLengthMin = 48, kLengthMax = 65535;

template <class... Arguments>
policy::Error wrong(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  return policy::make_error(errc::invalid_argument,
                            fmt::format(format, std::forward<Arguments>(arguments)...));
}

policy::Error unknown_source() {
  return policy::make_error(
      errc::no_such_file_or_directory,
      "The control database has no application and no binding of the name that the packet is said "
      "to come from; homeport app list shows the applications.");
}

bool has(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::ranges::find(addresses, address) != addresses.end();
}

std::vector<IpAddress> addresses_of(const Binding& binding) {
  std::vector<IpAddress> all = binding.prior_addresses;
  all.insert(all.end(), binding.current_addresses.begin(), binding.current_addresses.end());
  return all;
}

const IpAddress* first_like(const std::vector<IpAddress>& addresses, const IpAddress& to) {
  auto found = std::ranges::find(addresses, to.is_v6(), &IpAddress::is_v6);
  return found == addresses.end() ? nullptr : &*found;
}

/// Whether the sender takes both for neighbors of one subnet.
bool on_link(const Network& network, const IpAddress& a, const IpAddress& b) {
  if (network.subnets.empty()) return true;
  return std::ranges::any_of(network.subnets, [&](const Subnet& subnet) {
    return subnet.contains(a) && subnet.contains(b);
  });
}

bool is_broadcast(const Network& network, const IpAddress& to) {
  if (!to.is_v4()) return false;
  if (to.to_v4() == ip::address_v4::broadcast()) return true;
  return std::ranges::any_of(network.subnets, [&](const Subnet& subnet) {
    return subnet.address.is_v4() && subnet.prefix_length < 31 &&
           ip::network_v4(subnet.address.to_v4(), static_cast<unsigned short>(subnet.prefix_length))
                   .broadcast() == to.to_v4();
  });
}

/// RFC 1112, section 6.4; RFC 2464, section 7.
policy::MacAddress group_mac(const IpAddress& to) {
  if (!to.is_multicast()) return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  if (to.is_v4()) {
    const auto bytes = to.to_v4().to_bytes();
    return {{0x01, 0, 0x5e, static_cast<std::uint8_t>(bytes[1] & 0x7f), bytes[2], bytes[3]}};
  }
  const auto bytes = to.to_v6().to_bytes();
  return {{0x33, 0x33, bytes[12], bytes[13], bytes[14], bytes[15]}};
}

/// An application's bindings, or the one of that name.
std::vector<const Binding*> bindings_of(const Contents& contents, const std::string& from) {
  std::vector<const Binding*> bindings = contents.bindings_of(from);
  if (!bindings.empty()) return bindings;
  if (auto binding = contents.bindings.find(from); binding != contents.bindings.end()) {
    bindings.push_back(&binding->second);
  }
  return bindings;
}

/// How well a binding fits as the one that the packet leaves by: its own source first, then one
/// whose network has the destination, then one whose subnets have it.
int fitness(const Binding& binding, const Network& network, const TraceQuestion& question,
            const Contents& contents) {
  int fitness = 0;
  if (question.source && has(addresses_of(binding), *question.source)) fitness += 4;
  for (const auto& [name, other] : contents.bindings) {
    if (other.network == binding.network && has(addresses_of(other), question.to)) {
      fitness += 2;
      break;
    }
  }
  for (const Subnet& subnet : network.subnets) {
    if (subnet.contains(question.to)) {
      fitness += 1;
      break;
    }
  }
  return fitness;
}

Result<TraceBeginning> begin_at_port(const TraceQuestion& question, const Contents& contents) {
  const Binding* sender = nullptr;
  int best = -1;
  const auto bindings = bindings_of(contents, question.from);
  for (const Binding* binding : bindings) {
    auto network = contents.networks.find(binding->network);
    if (network == contents.networks.end() || !first_like(addresses_of(*binding), question.to)) {
      continue;
    }
    const int fits = fitness(*binding, network->second, question, contents);
    if (fits > best) {
      best = fits;
      sender = binding;
    }
  }
  if (bindings.empty()) return unknown_source();
  if (!sender) {
    return wrong("The application has no {} address in a network: it cannot send there.",
                 question.to.is_v6() ? "IPv6" : "IPv4");
  }
  const Network& network = contents.networks.at(sender->network);
  overlay::FromPort origin{device_of(contents, *sender), {}};
  overlay::TracedPacket packet;
  const auto own = addresses_of(*sender);
  packet.source = *first_like(own, question.to);
  // On the same link if it can, as a kernel chooses.
  for (const IpAddress& address : own) {
    if (address.is_v6() == question.to.is_v6() && on_link(network, address, question.to)) {
      packet.source = address;
      break;
    }
  }
  if (question.source) packet.source = *question.source;
  packet.source_mac = sender->mac;
  if (question.to.is_multicast() || is_broadcast(network, question.to)) {
    packet.destination_mac = group_mac(question.to);
    return TraceBeginning{std::move(origin), packet};
  }
  const IpAddress* gateway = first_like(network.gateways, question.to);
  const bool direct =
      !gateway || *gateway == question.to || on_link(network, packet.source, question.to);
  origin.next_hop = direct ? question.to : *gateway;
  return TraceBeginning{std::move(origin), packet};
}

Result<TraceBeginning> begin_at_host(const TraceQuestion& question, const Contents& contents,
                                     const std::string& host) {
  TraceBeginning beginning{overlay::FromHost{}, {}};
  if (question.to.is_multicast()) {
    return wrong("What a host's own processes send to a group does not enter the virtual network.");
  }
  if (question.source) {
    beginning.packet.source = *question.source;
    return beginning;
  }
  // As the datapath has them chosen: its VTEP, else another address.
  std::vector<IpAddress> own;
  if (auto row = contents.hosts.find(host); row != contents.hosts.end()) own = row->second.vteps;
  for (const auto& [uuid, interface] : contents.interfaces) {
    if (interface.host == host) own.push_back(interface.address);
  }
  const IpAddress* source = first_like(own, question.to);
  if (!source) {
    return wrong("The host has no {} address.", question.to.is_v6() ? "IPv6" : "IPv4");
  }
  beginning.packet.source = *source;
  return beginning;
}

Result<std::uint32_t> parse_number(const char* name, const std::string& text, std::uint32_t least,
                                   std::uint32_t most) {
  std::uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    return wrong("The parameter {} is a number from {} to {}.", name, least, most);
  }
  return number;
}

Result<IpAddress> parse_address(const char* name, const std::string& text) {
  boost::system::error_code error;
  auto address = ip::make_address(text, error);
  if (error) return wrong("The parameter {} is an IPv4 or IPv6 address.", name);
  return address;
}

}  // namespace

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case kTcp:
      return "tcp";
    case kUdp:
      return "udp";
    case kSctp:
      return "sctp";
    case kIcmp:
    case kIcmp6:
      return "icmp";
    default:
      return std::to_string(protocol);
  }
}

Result<TraceQuestion> parse_question(
    const std::map<std::string, std::string, std::less<>>& parameters) {
  TraceQuestion question;
  auto given = [&](const char* name) -> const std::string* {
    auto found = parameters.find(name);
    return found == parameters.end() ? nullptr : &found->second;
  };
  if (!given("from") || !given("to")) {
    return wrong("The parameters from (an application, or host) and to (an address) are needed.");
  }
  question.from = *given("from");
  auto destination = parse_address("to", *given("to"));
  if (!destination) return destination.error();
  question.to = *destination;
  if (const std::string* text = given("source")) {
    auto source = parse_address("source", *text);
    if (!source) return source.error();
    question.source = *source;
  }
  if (const std::string* text = given("protocol")) {
    question.protocol = *text == "tcp"    ? kTcp
                        : *text == "sctp" ? kSctp
                        : *text == "icmp" ? (question.to.is_v6() ? kIcmp6 : kIcmp)
                                          : kUdp;
  }
  if (const std::string* text = given("length")) {
    auto length = parse_number("length", *text, kLengthMin, kLengthMax);
    if (!length) return length.error();
    question.length = *length;
  }
  if (const std::string* text = given("hops")) {
    auto hops = parse_number("hops", *text, 1, 255);
    if (!hops) return hops.error();
    question.hops = *hops;
  }
  for (const auto& [name, port] :
       {std::pair("port", &question.port), std::pair("source_port", &question.source_port)}) {
    const std::string* text = given(name);
    if (!text) continue;
    auto number = parse_number(name, *text, 1, 65535);
    if (!number) return number.error();
    *port = static_cast<std::uint16_t>(*number);
  }
  if (const std::string* text = given("fragment")) question.dont_fragment = *text == "no";
  if (const std::string* text = given("at")) question.at = *text;
  return check_question(std::move(question));
}

Result<TraceQuestion> check_question(TraceQuestion question) {
  if (question.from.empty() || question.from.size() > kTraceNameMax ||
      question.at.size() > kTraceNameMax) {
    return wrong("A name is from 1 to {} bytes.", kTraceNameMax);
  }
  if (question.to.is_unspecified() || question.to.is_loopback()) {
    return wrong("The parameter to is not an address that a packet can be sent to.");
  }
  if (question.to.is_v6() && question.to.to_v6().is_link_local()) {
    return wrong(
        "Link-local addresses are in no table of the datapath: give one that the application has "
        "in "
        "its binding.");
  }
  if (question.to.is_v6() && question.to.to_v6().scope_id() != 0) {
    return wrong("An address is given without a zone.");
  }
  if (question.source) {
    if (question.source->is_v6() != question.to.is_v6()) {
      return wrong("The parameters source and to are of different families.");
    }
    if (question.source->is_multicast() || question.source->is_unspecified()) {
      return wrong("The parameter source is not the address of one.");
    }
  }
  const std::uint8_t other_icmp = question.to.is_v6() ? kIcmp : kIcmp6;
  if (question.length < kLengthMin || question.length > kLengthMax || question.hops < 1 ||
      question.hops > 255 || question.protocol == other_icmp) {
    return wrong("The packet cannot be: length, hops or protocol.");
  }
  if ((question.protocol == kIcmp || question.protocol == kIcmp6) &&
      (question.port != 0 || question.source_port != 0)) {
    return wrong("ICMP has no ports: port and source_port go with another protocol.");
  }
  if (!question.at.empty() && question.from != kFromHost) {
    return wrong("The parameter at goes with host as from: an application is where it is.");
  }
  return question;
}

Result<std::string> host_of(const TraceQuestion& question, const Contents& contents,
                            const std::string& here) {
  if (question.from == kFromHost) {
    if (question.at.empty() || question.at == here) return here;
    if (!contents.hosts.contains(question.at)) {
      return policy::make_error(
          errc::no_such_file_or_directory,
          "The control database has no host of the name that is given by at.");
    }
    return question.at;
  }
  const auto bindings = bindings_of(contents, question.from);
  if (bindings.empty()) return unknown_source();
  const std::string& location = bindings.front()->location;
  if (location.empty()) {
    return policy::make_error(errc::no_such_file_or_directory,
                              "The application is at no host: it sends nothing. Start it first.");
  }
  return location;
}

Result<TraceBeginning> begin_trace(const TraceQuestion& question, const Contents& contents,
                                   const std::string& host) {
  auto beginning = question.from == kFromHost ? begin_at_host(question, contents, host)
                                              : begin_at_port(question, contents);
  if (!beginning) return beginning;
  beginning->packet.destination = question.to;
  beginning->packet.protocol = question.protocol;
  beginning->packet.length = question.length;
  beginning->packet.hops = question.hops;
  beginning->packet.dont_fragment = question.dont_fragment;
  beginning->packet.destination_port = question.port;
  beginning->packet.source_port = question.source_port;
  return beginning;
}

}  // namespace homeport::agent
