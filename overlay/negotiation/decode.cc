#include "overlay/datapath/datapath.h"
#include "overlay/negotiation/codec.h"
#include "overlay/negotiation/negotiation.pb.h"
#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

namespace homeport::overlay {
namespace {

namespace errc = boost::system::errc;
using policy::IpAddress;
using policy::Micros;
using policy::Reachability;
using policy::Result;
using policy::TrafficClass;

// Reads a statement's parts. The first thing that is out of bounds is kept, and what is read after
// it does not matter any more.
class Reader {
 public:
  const std::string& problem() const { return problem_; }

  PathStatement statement(const NegotiationStatement& message) {
    PathStatement statement;
    read_head(message, statement);
    if (message.has_ends()) statement.ends = ends(message.ends());
    if (message.has_reports()) statement.reports = reports(message.reports());
    choices(message, statement.choices);
    return statement;
  }

  RelayStatement relay_statement(const NegotiationRelayStatement& message) {
    RelayStatement statement;
    read_head(message, statement);
    statement.asks = asks(message);
    statement.answers = answers(message);
    return statement;
  }

 private:
  /// What statements of both kinds begin with.
  template <class Message, class Statement>
  void read_head(const Message& message, Statement& statement) {
    statement.id = {number("an epoch", message.epoch(), kMostCounted),
                    number("a revision", message.revision(), kMostCounted)};
    if (statement.id.epoch == 0) complain("it has no epoch");
    statement.seen = {number("an epoch seen", message.seen_epoch(), kMostCounted),
                      number("a revision seen", message.seen_revision(), kMostCounted)};
    statement.wants_answer = message.wants_answer();
  }

  void complain(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

  template <class T>
  T number(std::string_view what, T value, T most) {
    if (value > most) complain(fmt::format("it names {} of {}, over {}", what, value, most));
    return std::min(value, most);
  }

  Micros time(std::string_view what, std::uint64_t value, Micros most) {
    return Micros(number<std::uint64_t>(what, value, static_cast<std::uint64_t>(most.count())));
  }

  std::string name(std::string_view what, const std::string& text, std::size_t longest,
                   bool may_be_empty) {
    if (text.size() > longest || (text.empty() && !may_be_empty) ||
        policy::printable(text, longest) != text) {
      complain(fmt::format("'{}' cannot be the name of {}", policy::printable(text, 64), what));
    }
    return text;
  }

  IpAddress address(const std::string& bytes) {
    const auto fill = [&](auto array) {
      std::transform(bytes.begin(), bytes.end(), array.begin(),
                     [](char byte) { return static_cast<unsigned char>(byte); });
      return array;
    };
    IpAddress address;
    if (bytes.size() == 4) {
      address = boost::asio::ip::address_v4(fill(boost::asio::ip::address_v4::bytes_type()));
    } else if (bytes.size() == 16) {
      address = boost::asio::ip::address_v6(fill(boost::asio::ip::address_v6::bytes_type()));
    } else {
      complain(fmt::format("it names an address of {} bytes", bytes.size()));
      return address;
    }
    if (!policy::is_unicast_beyond_link(address)) {
      complain(address.to_string() + " is no address that one host can have for another");
    }
    return address;
  }

  policy::PathEnd end(const NegotiationEnd& message) {
    policy::PathEnd end;
    end.address = address(message.address());
    end.interface = name("an interface", message.interface(), kLongestInterface, false);
    end.speed = number("a speed", message.speed_bps(), kMostBandwidth);
    end.mtu = number("an MTU", message.mtu(), kMostMtu);
    end.cost = number("a cost", message.cost(), kMostCost);
    number<std::size_t>("a count of labels", message.labels().size(), kMostLabels);
    for (const std::string& label : message.labels()) {
      end.labels.push_back(name("a label", label, kLongestName, false));
    }
    end.default_route = message.default_route();
    return end;
  }

  std::vector<policy::PathEnd> ends(const NegotiationEnds& message) {
    number<std::size_t>("a count of interfaces", message.ends().size(), policy::kMostEnds);
    std::vector<policy::PathEnd> result;
    std::set<IpAddress> addresses;
    for (const NegotiationEnd& each : message.ends()) {
      if (!problem_.empty()) break;
      result.push_back(end(each));
      if (!addresses.insert(result.back().address).second) {
        complain("it offers " + result.back().address.to_string() + " twice");
      }
    }
    return result;
  }

  policy::PathId path(const NegotiationPath& message) {
    policy::PathId path{address(message.first()), address(message.second()),
                        name("a host", message.relay(), kLongestName, true)};
    if (path.first.is_v6() != path.second.is_v6()) {
      complain("its path " + to_string(path) + " begins in one address family and ends in another");
    }
    return path;
  }

  policy::DirectionQuality direction(const NegotiationDirection& message) {
    policy::DirectionQuality quality;
    // A newer peer may know more than yes and no: that is unknown here.
    if (message.reachable() == NEGOTIATION_REACHABILITY_YES) quality.reachable = Reachability::yes;
    if (message.reachable() == NEGOTIATION_REACHABILITY_NO) quality.reachable = Reachability::no;
    if (message.has_loss_ppm()) {
      quality.loss = number("a loss", message.loss_ppm(), policy::kAllLost);
    }
    if (message.has_bandwidth_bps()) {
      quality.bandwidth = number("a bandwidth", message.bandwidth_bps(), kMostBandwidth);
    }
    if (message.has_mtu()) quality.mtu = number("an MTU", message.mtu(), kMostMtu);
    return quality;
  }

  policy::PathReport report(const NegotiationReport& message) {
    policy::PathReport report{.path = path(message.path())};
    policy::PathQuality& quality = report.quality;
    if (message.has_rtt_us()) quality.rtt = time("a round trip", message.rtt_us(), kLongestRtt);
    if (message.has_variation_us()) {
      quality.variation = time("a variation", message.variation_us(), kLongestRtt);
    }
    quality.out = direction(message.out());
    quality.in = direction(message.in());
    report.damped = message.damped();
    report.age = time("an age", message.age_us(), kOldestReport);
    return report;
  }

  std::vector<policy::PathReport> reports(const NegotiationReports& message) {
    number<std::size_t>("a count of reports", message.reports().size(), policy::kMostPaths);
    std::vector<policy::PathReport> result;
    std::set<policy::PathId> paths;
    for (const NegotiationReport& each : message.reports()) {
      if (!problem_.empty()) break;
      result.push_back(report(each));
      if (!paths.insert(result.back().path).second) {
        complain("it reports " + to_string(result.back().path) + " twice");
      }
    }
    return result;
  }

  static std::optional<TrafficClass> traffic_class(NegotiationClass traffic) {
    switch (traffic) {
      case NEGOTIATION_CLASS_INTERACTIVE:
        return TrafficClass::interactive;
      case NEGOTIATION_CLASS_DEFAULT:
        return TrafficClass::best_effort;
      case NEGOTIATION_CLASS_BULK:
        return TrafficClass::bulk;
      default:
        return std::nullopt;  // a newer peer's
    }
  }

  void choices(const NegotiationStatement& message, policy::PerClass<PathChoice>& choices) {
    // Room for classes to come.
    number<std::size_t>("a count of choices", message.choices().size(), 64);
    for (const NegotiationChoice& each : message.choices()) {
      if (!problem_.empty()) return;
      const auto traffic = traffic_class(each.traffic());
      if (!traffic) continue;
      PathChoice& choice = choices[*traffic];
      choice.nomination = number("a nomination", each.nomination(), kMostCounted);
      choice.path = std::nullopt;
      if (each.has_path()) choice.path = path(each.path());
    }
  }

  std::vector<RelayAsk> asks(const NegotiationRelayStatement& message) {
    number<std::size_t>("a count of hosts", message.asks().size(), kMostRelayedHosts);
    std::vector<RelayAsk> result;
    std::set<std::string> hosts;
    std::size_t networks = 0;
    for (const NegotiationRelayAsk& each : message.asks()) {
      if (!problem_.empty()) break;
      RelayAsk ask{name("a host", each.host(), kLongestName, false), {}};
      if (!hosts.insert(ask.host).second) complain("it asks for " + ask.host + " twice");
      networks += static_cast<std::size_t>(each.networks().size());
      number<std::size_t>("a count of networks", networks, kMostRelayLabels);
      std::set<policy::Vni> once(each.networks().begin(), each.networks().end());
      for (const policy::Vni vni : once) {
        ask.networks.push_back(number("a network", vni, kFirstLabel - 1));
      }
      result.push_back(std::move(ask));
    }
    return result;
  }

  std::vector<RelayAnswer> answers(const NegotiationRelayStatement& message) {
    number<std::size_t>("a count of hosts", message.answers().size(), kMostRelayedHosts);
    std::vector<RelayAnswer> result;
    std::set<std::string> hosts;
    std::size_t labels = 0;
    for (const NegotiationRelayAnswer& each : message.answers()) {
      if (!problem_.empty()) break;
      RelayAnswer answer{.host = name("a host", each.host(), kLongestName, false)};
      if (!hosts.insert(answer.host).second) complain("it tells of " + answer.host + " twice");
      answer.refusal = policy::printable(each.refusal(), kLongestRefusal);
      if (each.has_way()) answer.way = report(each.way());
      labels += static_cast<std::size_t>(each.labels().size());
      number<std::size_t>("a count of labels", labels, kMostRelayLabels);
      for (const NegotiationRelayLabel& label : each.labels()) {
        if (label.label() < kFirstLabel) complain(fmt::format("{} is no label", label.label()));
        answer.labels[number("a network", label.network(), kFirstLabel - 1)] =
            number("a label", label.label(), kLastLabel);
      }
      result.push_back(std::move(answer));
    }
    return result;
  }

  std::string problem_;
};

template <class Message>
ProtocolVersions versions_of(const Message& message) {
  return {message.oldest_version() == 0 ? message.version() : message.oldest_version(),
          message.version()};
}

/// What `what` takes out of the bytes of a message.
template <class Message, class Statement>
Result<Statement> decode_as(std::span<const std::byte> bytes, std::size_t longest,
                            Statement (Reader::*what)(const Message&)) {
  if (bytes.size() > longest) {
    return policy::make_error(
        errc::message_size,
        fmt::format("its statement about paths has {} bytes, over {}", bytes.size(), longest));
  }
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return policy::make_error(errc::bad_message, "its statement about paths cannot be read");
  }
  const ProtocolVersions theirs = versions_of(message);
  if (!agreed_version(theirs, kNegotiationVersions)) {
    return policy::make_error(
        errc::protocol_not_supported,
        fmt::format("it negotiates paths in versions {} to {}, this host in {} to {}: upgrade one "
                    "of them",
                    theirs.oldest, theirs.newest, kNegotiationVersions.oldest,
                    kNegotiationVersions.newest));
  }
  Reader reader;
  Statement statement = (reader.*what)(message);
  if (reader.problem().empty()) return statement;
  return policy::make_error(errc::bad_message,
                            "its statement about paths is not good: " + reader.problem());
}

}  // namespace

Result<PathStatement> decode(std::span<const std::byte> bytes) {
  return decode_as(bytes, kLongestStatement, &Reader::statement);
}

Result<RelayStatement> decode_relay(std::span<const std::byte> bytes) {
  return decode_as(bytes, kLongestRelayStatement, &Reader::relay_statement);
}

}  // namespace homeport::overlay
