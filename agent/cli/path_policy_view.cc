#include "agent/cli/path_policy_view.h"

#include "agent/cli/output.h"
#include "policy/path/end_text.h"

#include <fmt/format.h>
#include <boost/json.hpp>

namespace homeport::agent {
namespace {

namespace json = boost::json;

/// The lines of one class.
class Lines {
 public:
  Lines(Table& table, const PathPolicyRow& row)
      : table_(table), traffic_class_(policy::to_string(row.traffic_class)) {}

  template <class Figure>
  void limit(const char* what, const std::optional<Figure>& figure,
             fmt::format_string<const Figure&> format) {
    if (figure) add(what, fmt::format(format, *figure));
  }
  void add(const char* what, std::string value) {
    table_.add({traffic_class_, what, std::move(value)});
  }

 private:
  Table& table_;
  std::string traffic_class_;
};

/// As a person writes it: 0.5, 50.
std::optional<double> in_units(const std::optional<std::int64_t>& figure, double unit) {
  return figure ? std::optional(static_cast<double>(*figure) / unit) : std::nullopt;
}

std::optional<std::int64_t> count(const std::optional<std::chrono::microseconds>& duration) {
  return duration ? std::optional<std::int64_t>(duration->count()) : std::nullopt;
}

void add_lines(Table& table, const PathPolicyRow& row) {
  Lines lines(table, row);
  for (const policy::PairMatch& pair : row.pinned) lines.add("pin", to_string(pair));
  for (const auto& [label, weight] : row.preferred) {
    lines.add("prefer", fmt::format("{} {}", label, weight));
  }
  for (const policy::EndMatch& end : row.forbidden) lines.add("forbid", to_string(end));
  for (const policy::PortRange& ports : row.ports) lines.add("ports", to_string(ports));
  lines.limit("rtt", in_units(count(row.most_rtt), 1e3), "at most {} ms");
  lines.limit("loss", in_units(row.most_loss_ppm, 1e4), "at most {}%");
  lines.limit("bandwidth", row.least_bandwidth_mbps, "at least {} Mbit/s");
  lines.limit("mtu", row.least_mtu, "at least {} bytes");
  lines.limit("cost", row.cost_ceiling, "at most {} for both ends");
  if (row.relays) lines.add("relays", *row.relays ? "allowed" : "not allowed");
  if (row.detection) lines.add("detection", to_string(*row.detection));
}

template <class T>
json::array texts_of(const std::vector<T>& values) {
  json::array texts;
  for (const T& value : values) texts.push_back(json::value(to_string(value)));
  return texts;
}

template <class T>
json::value or_null(const std::optional<T>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

json::object to_json(const PathPolicyRow& row) {
  json::object preferred;
  for (const auto& [label, weight] : row.preferred) preferred[label] = weight;
  json::value detection = nullptr;
  if (row.detection) detection = to_string(*row.detection);
  return {{"class", policy::to_string(row.traffic_class)},
          {"preferred", std::move(preferred)},
          {"forbidden", texts_of(row.forbidden)},
          {"pinned", texts_of(row.pinned)},
          {"ports", texts_of(row.ports)},
          {"cost_ceiling", or_null(row.cost_ceiling)},
          {"most_rtt_us", or_null(count(row.most_rtt))},
          {"most_loss_ppm", or_null(row.most_loss_ppm)},
          {"least_bandwidth_mbps", or_null(row.least_bandwidth_mbps)},
          {"least_mtu", or_null(row.least_mtu)},
          {"relays", or_null(row.relays)},
          {"detection", std::move(detection)}};
}

PathPolicyRow row_of(const Contents& contents, policy::TrafficClass traffic_class) {
  auto row = contents.path_policies.find(traffic_class);
  return row == contents.path_policies.end() ? PathPolicyRow{.traffic_class = traffic_class}
                                             : row->second;
}

}  // namespace

std::string path_policy_table(const Contents& contents) {
  Table table({{"CLASS"}, {"ASKED"}, {"VALUE"}});
  for (const policy::TrafficClass each : policy::kTrafficClasses) {
    add_lines(table, row_of(contents, each));
  }
  return table.to_string();
}

std::string path_policy_json_text(const Contents& contents) {
  json::array classes;
  for (const policy::TrafficClass each : policy::kTrafficClasses) {
    classes.emplace_back(to_json(row_of(contents, each)));
  }
  return json::serialize(classes) + "\n";
}

}  // namespace homeport::agent
