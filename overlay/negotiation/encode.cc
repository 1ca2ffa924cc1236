#include "overlay/negotiation/codec.h"
#include "overlay/negotiation/negotiation.pb.h"

namespace homeport::overlay {
namespace {

using policy::Reachability;
using policy::TrafficClass;

std::string bytes_of(const policy::IpAddress& address) {
  auto text = [](const auto& bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  return address.is_v4() ? text(address.to_v4().to_bytes()) : text(address.to_v6().to_bytes());
}

void write(const policy::PathEnd& end, NegotiationEnd& message) {
  message.set_address(bytes_of(end.address));
  message.set_interface(end.interface);
  message.set_speed_bps(end.speed);
  message.set_mtu(end.mtu);
  message.set_cost(end.cost);
  for (const std::string& label : end.labels) message.add_labels(label);
  message.set_default_route(end.default_route);
}

void write(const policy::PathId& path, NegotiationPath& message) {
  message.set_first(bytes_of(path.first));
  message.set_second(bytes_of(path.second));
  message.set_relay(path.relay);
}

NegotiationReachability written(Reachability reachable) {
  switch (reachable) {
    case Reachability::yes:
      return NEGOTIATION_REACHABILITY_YES;
    case Reachability::no:
      return NEGOTIATION_REACHABILITY_NO;
    case Reachability::unknown:
      break;
  }
  return NEGOTIATION_REACHABILITY_UNKNOWN;
}

void write(const policy::DirectionQuality& quality, NegotiationDirection& message) {
  message.set_reachable(written(quality.reachable));
  if (quality.loss) message.set_loss_ppm(*quality.loss);
  if (quality.bandwidth) message.set_bandwidth_bps(*quality.bandwidth);
  if (quality.mtu) message.set_mtu(*quality.mtu);
}

std::uint64_t count(policy::Micros time) {
  return static_cast<std::uint64_t>(time.count());
}

void write(const policy::PathReport& report, NegotiationReport& message) {
  write(report.path, *message.mutable_path());
  if (report.quality.rtt) message.set_rtt_us(count(*report.quality.rtt));
  if (report.quality.variation) message.set_variation_us(count(*report.quality.variation));
  write(report.quality.out, *message.mutable_out());
  write(report.quality.in, *message.mutable_in());
  message.set_damped(report.damped);
  message.set_age_us(count(report.age));
}

NegotiationClass written(TrafficClass traffic) {
  switch (traffic) {
    case TrafficClass::interactive:
      return NEGOTIATION_CLASS_INTERACTIVE;
    case TrafficClass::best_effort:
      return NEGOTIATION_CLASS_DEFAULT;
    case TrafficClass::bulk:
      break;
  }
  return NEGOTIATION_CLASS_BULK;
}

/// What statements of both kinds begin with.
template <class Statement, class Message>
void write_head(const Statement& statement, Message& message) {
  message.set_version(kNegotiationVersions.newest);
  message.set_oldest_version(kNegotiationVersions.oldest);
  message.set_epoch(statement.id.epoch);
  message.set_revision(statement.id.revision);
  message.set_seen_epoch(statement.seen.epoch);
  message.set_seen_revision(statement.seen.revision);
  message.set_wants_answer(statement.wants_answer);
}

}  // namespace

std::string encode(const PathStatement& statement) {
  NegotiationStatement message;
  write_head(statement, message);
  if (statement.ends) {
    auto& ends = *message.mutable_ends();
    for (const policy::PathEnd& end : *statement.ends) write(end, *ends.add_ends());
  }
  if (statement.reports) {
    auto& reports = *message.mutable_reports();
    for (const policy::PathReport& report : *statement.reports) {
      write(report, *reports.add_reports());
    }
  }
  for (TrafficClass traffic : policy::kTrafficClasses) {
    const PathChoice& choice = statement.choices[traffic];
    NegotiationChoice& written_choice = *message.add_choices();
    written_choice.set_traffic(written(traffic));
    written_choice.set_nomination(choice.nomination);
    if (choice.path) write(*choice.path, *written_choice.mutable_path());
  }
  return message.SerializeAsString();
}

std::string encode(const RelayStatement& statement) {
  NegotiationRelayStatement message;
  write_head(statement, message);
  for (const RelayAsk& ask : statement.asks) {
    NegotiationRelayAsk& written_ask = *message.add_asks();
    written_ask.set_host(ask.host);
    for (const policy::Vni network : ask.networks) written_ask.add_networks(network);
  }
  for (const RelayAnswer& answer : statement.answers) {
    NegotiationRelayAnswer& written_answer = *message.add_answers();
    written_answer.set_host(answer.host);
    written_answer.set_refusal(answer.refusal);
    if (answer.way) write(*answer.way, *written_answer.mutable_way());
    for (const auto& [network, label] : answer.labels) {
      NegotiationRelayLabel& written_label = *written_answer.add_labels();
      written_label.set_network(network);
      written_label.set_label(label);
    }
  }
  return message.SerializeAsString();
}

}  // namespace homeport::overlay
