#include "agent/cli/path_policy.h"

#include "agent/cli/arguments.h"
#include "agent/cli/database_client.h"
#include "agent/cli/output.h"
#include "agent/cli/path_ends.h"
#include "agent/cli/path_policy_view.h"
#include "policy/path/end_text.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <ostream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using boost::system::errc::errc_t;
using policy::EndMatch;
using policy::PairMatch;
using policy::Result;

constexpr const char* kEveryClass = "all";

struct PathArguments {
  std::string traffic_class, end, other_end, label, ports;
  std::int64_t weight = 100;
  bool force = false;
  std::optional<double> rtt_ms, loss_percent;
  std::optional<std::int64_t> bandwidth_mbps, mtu, cost;
  std::optional<bool> relays;
  std::string detection;
  std::vector<std::string> clear;

  EndMatch first() const { return *policy::parse_end(end); }
  PairMatch pair() const { return {first(), *policy::parse_end(other_end)}; }
  std::vector<policy::TrafficClass> classes() const {
    if (traffic_class != kEveryClass) return {*policy::parse_traffic_class(traffic_class)};
    return {policy::kTrafficClasses.begin(), policy::kTrafficClasses.end()};
  }
  /// "bulk traffic"
  std::string traffic() const {
    return traffic_class == kEveryClass ? "traffic of every class" : traffic_class + " traffic";
  }
};

using Change = std::function<void(PathPolicyRow&)>;

void warn_of_problems(const Contents& contents, Terminal& terminal) {
  for (const auto& [row, problem] : contents.problems) {
    if (row.first != PathPolicyRow::kTable) continue;
    terminal.err << "homeport: " << for_terminal(problem.message) << "\n";
  }
}

bool differs(const Contents& contents, const std::vector<policy::TrafficClass>& classes,
             const Change& change) {
  return std::ranges::any_of(classes, [&](policy::TrafficClass each) {
    auto known = contents.path_policies.find(each);
    const PathPolicyRow before = known == contents.path_policies.end()
                                     ? PathPolicyRow{.traffic_class = each}
                                     : known->second;
    PathPolicyRow after = before;
    change(after);
    return after != before;
  });
}

/// `done`: what is so afterwards, as a sentence.
asio::awaitable<Result<int>> write(DatabaseClient& client, Invocation& invocation,
                                   std::vector<policy::TrafficClass> classes, Change change,
                                   std::string done) {
  const bool news = differs(client.contents(), classes, change);
  auto written = co_await client.database().change_path_policies(classes, change);
  if (!written) co_return written.error();
  if (invocation.global.json) {
    invocation.terminal.out << path_policy_json_text(client.contents());
  } else {
    invocation.terminal.out << done << (news ? "\n" : " It was so already.\n");
  }
  co_return kExitDone;
}

/// What names nothing is most often a slip.
Result<void> unless_forced(Result<void> known, const PathArguments& given) {
  if (known || given.force) return {};
  policy::Error error = known.error();
  error.message += " With --force it is written all the same, for one that is yet to come.";
  return error;
}

asio::awaitable<Result<int>> pin(DatabaseClient& client, Invocation& invocation,
                                 const PathArguments& given) {
  const PairMatch pair = given.pair();
  if (!pair.one.host.empty() && pair.one.host == pair.other.host) {
    co_return policy::make_error(
        errc_t::invalid_argument,
        fmt::format("Both ends are at host {}: name ends of two hosts, as a path has.",
                    pair.one.host));
  }
  for (const EndMatch* end : {&pair.one, &pair.other}) {
    auto known = unless_forced(check_known(client.contents(), *end), given);
    if (!known) co_return known.error();
  }
  const PairMatch turned{pair.other, pair.one};
  Change change = [pair, turned](PathPolicyRow& row) {
    auto is_it = [&](const PairMatch& other) { return other == pair || other == turned; };
    if (std::ranges::none_of(row.pinned, is_it)) row.pinned.push_back(pair);
  };
  std::string done = fmt::format("{} is pinned to {}.", given.traffic(), to_string(pair));
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

asio::awaitable<Result<int>> unpin(DatabaseClient& client, Invocation& invocation,
                                   const PathArguments& given) {
  const PairMatch pair = given.pair();
  const PairMatch turned{pair.other, pair.one};
  Change change = [pair, turned](PathPolicyRow& row) {
    std::erase_if(row.pinned,
                  [&](const PairMatch& other) { return other == pair || other == turned; });
  };
  std::string done = fmt::format("{} is not pinned to {}.", given.traffic(), to_string(pair));
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

asio::awaitable<Result<int>> prefer(DatabaseClient& client, Invocation& invocation,
                                    const PathArguments& given) {
  auto known = unless_forced(check_label_known(client.contents(), given.label), given);
  if (!known) co_return known.error();
  Change change = [label = given.label, weight = given.weight](PathPolicyRow& row) {
    row.preferred[label] = weight;
  };
  std::string done = fmt::format("{} prefers interfaces labelled {} with weight {}.",
                                 given.traffic(), given.label, given.weight);
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

asio::awaitable<Result<int>> unprefer(DatabaseClient& client, Invocation& invocation,
                                      const PathArguments& given) {
  Change change = [label = given.label](PathPolicyRow& row) { row.preferred.erase(label); };
  std::string done =
      fmt::format("{} does not prefer interfaces labelled {}.", given.traffic(), given.label);
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

asio::awaitable<Result<int>> forbid(DatabaseClient& client, Invocation& invocation,
                                    const PathArguments& given) {
  const EndMatch end = given.first();
  if (end == EndMatch{}) {
    co_return policy::make_error(
        errc_t::invalid_argument,
        "*/* is every interface of every host: name a host, an interface or a label.");
  }
  auto known = unless_forced(check_known(client.contents(), end), given);
  if (!known) co_return known.error();
  Change change = [end](PathPolicyRow& row) {
    if (std::ranges::count(row.forbidden, end) == 0) row.forbidden.push_back(end);
  };
  std::string done = fmt::format("{} is not sent by {}.", given.traffic(), to_string(end));
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

asio::awaitable<Result<int>> permit(DatabaseClient& client, Invocation& invocation,
                                    const PathArguments& given) {
  const EndMatch end = given.first();
  Change change = [end](PathPolicyRow& row) { std::erase(row.forbidden, end); };
  std::string done = fmt::format("{} is not forbidden for {}.", to_string(end), given.traffic());
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

/// Of the ports, in one transaction: one class has them, and no other.
asio::awaitable<Result<int>> assign(DatabaseClient& client, Invocation& invocation,
                                    const PathArguments& given) {
  const policy::PortRange ports = *policy::parse_ports(given.ports);
  const policy::TrafficClass wanted = given.classes().front();
  const auto& rows = client.contents().path_policies;
  auto row = rows.find(wanted);
  if (row != rows.end() && row->second.ports.size() >= kMostPorts &&
      std::ranges::count(row->second.ports, ports) == 0) {
    co_return policy::make_error(
        errc_t::invalid_argument,
        fmt::format("{} ranges of ports are {} already, which is the most: unassign one of them "
                    "first.",
                    kMostPorts, given.traffic()));
  }
  Change change = [ports, wanted](PathPolicyRow& row) {
    if (row.traffic_class != wanted) {
      std::erase(row.ports, ports);
    } else if (std::ranges::count(row.ports, ports) == 0) {
      row.ports.push_back(ports);
      std::ranges::sort(row.ports);
    }
  };
  std::vector<policy::TrafficClass> all(policy::kTrafficClasses.begin(),
                                        policy::kTrafficClasses.end());
  std::string done = fmt::format("What has a port of {} is {}.", to_string(ports), given.traffic());
  co_return co_await write(client, invocation, std::move(all), std::move(change), std::move(done));
}

asio::awaitable<Result<int>> unassign(DatabaseClient& client, Invocation& invocation,
                                      const PathArguments& given) {
  const policy::PortRange ports = *policy::parse_ports(given.ports);
  Change change = [ports](PathPolicyRow& row) { std::erase(row.ports, ports); };
  std::string done =
      fmt::format("{} is not {} by a rule of its own.", to_string(ports), given.traffic());
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

void clear(PathPolicyRow& row, const std::string& what) {
  const bool all = what == "all";
  if (all || what == "rtt") row.most_rtt.reset();
  if (all || what == "loss") row.most_loss_ppm.reset();
  if (all || what == "bandwidth") row.least_bandwidth_mbps.reset();
  if (all || what == "mtu") row.least_mtu.reset();
  if (all || what == "cost") row.cost_ceiling.reset();
  if (all || what == "relays") row.relays.reset();
  if (all || what == "detection") row.detection.reset();
}

void set_limits(PathPolicyRow& row, const PathArguments& given) {
  for (const std::string& what : given.clear) clear(row, what);
  if (given.rtt_ms) row.most_rtt = std::chrono::microseconds(std::llround(*given.rtt_ms * 1e3));
  if (given.loss_percent) row.most_loss_ppm = std::llround(*given.loss_percent * 1e4);
  if (given.bandwidth_mbps) row.least_bandwidth_mbps = given.bandwidth_mbps;
  if (given.mtu) row.least_mtu = given.mtu;
  if (given.cost) row.cost_ceiling = given.cost;
  if (given.relays) row.relays = given.relays;
  for (Detection each : {Detection::normal, Detection::fast}) {
    if (given.detection == to_string(each)) row.detection = each;
  }
}

asio::awaitable<Result<int>> limit(DatabaseClient& client, Invocation& invocation,
                                   const PathArguments& given) {
  Change change = [given](PathPolicyRow& row) { set_limits(row, given); };
  std::string done = fmt::format("What {} asks of its paths is set.", given.traffic());
  co_return co_await write(client, invocation, given.classes(), std::move(change), std::move(done));
}

asio::awaitable<Result<int>> show(DatabaseClient& client, Invocation& invocation,
                                  const PathArguments&) {
  invocation.terminal.out << (invocation.global.json ? path_policy_json_text(client.contents())
                                                     : path_policy_table(client.contents()));
  warn_of_problems(client.contents(), invocation.terminal);
  co_return kExitDone;
}

void add_class(CLI::App& command, PathArguments& given) {
  command
      .add_option("CLASS", given.traffic_class, "Of traffic: interactive, default, bulk, or all")
      ->required()
      ->check(CLI::IsMember({"interactive", "default", "bulk", kEveryClass}));
}

void add_one_class(CLI::App& command, PathArguments& given) {
  command.add_option("CLASS", given.traffic_class, "Of traffic: interactive, default or bulk")
      ->required()
      ->check(kIsTrafficClass);
}

void add_ports(CLI::App& command, PathArguments& given) {
  command
      .add_option("PORTS", given.ports,
                  "tcp:PORT, udp:PORT or sctp:PORT, or FIRST-LAST for the port")
      ->required()
      ->check(kIsPorts);
}

void add_end(CLI::App& command, std::string& end) {
  command
      .add_option(command.get_option_no_throw("END") ? "OTHER" : "END", end,
                  "HOST/INTERFACE or HOST/label:NAME; * is any host or any interface")
      ->required()
      ->check(kIsPathEnd);
}

void add_label(CLI::App& command, PathArguments& given) {
  command.add_option("LABEL", given.label, "Of interfaces (homeport interface set)")
      ->required()
      ->check(kIsLabel);
}

void add_force(CLI::App& command, PathArguments& given) {
  command.add_flag("--force", given.force, "Also what no host has reported");
}

void add_limits(CLI::App& command, PathArguments& given) {
  command.add_option("--rtt", given.rtt_ms, "The longest round trip that is good enough")
      ->check(CLI::Range(0.001, 60'000.0))
      ->type_name("MS");
  command.add_option("--loss", given.loss_percent, "The most loss that is, in either direction")
      ->check(CLI::Range(0.0, 100.0))
      ->type_name("PERCENT");
  command.add_option("--bandwidth", given.bandwidth_mbps, "The least bandwidth that is")
      ->check(CLI::Range(std::int64_t{1}, kMostBandwidthMbps))
      ->type_name("MBIT");
  command.add_option("--mtu", given.mtu, "The smallest MTU that is, of IP packets")
      ->check(CLI::Range(kMtuMin, std::int64_t{65535}))
      ->type_name("BYTES");
  command.add_option("--cost", given.cost, "What both ends together may cost; never more")
      ->check(CLI::Range(std::int64_t{0}, 2 * kMostCost))
      ->type_name("N");
  command.add_flag_function(
      "--relays,!--no-relays", [&given](std::int64_t count) { given.relays = count > 0; },
      "Whether paths through other hosts may be used (default: they may)");
  command
      .add_option("--detection", given.detection,
                  "How soon a silent failure is found out, at the price of more probes: default "
                  "or fast")
      ->check(CLI::IsMember({"default", "fast"}));
  add_repeated(command, "--clear", given.clear,
               "Ask for it no more: rtt, loss, bandwidth, mtu, cost, relays, detection, or all; "
               "may be repeated")
      ->check(
          CLI::IsMember({"rtt", "loss", "bandwidth", "mtu", "cost", "relays", "detection", "all"}))
      ->type_name("NAME");
  command.parse_complete_callback([&given] {
    const bool any = given.rtt_ms || given.loss_percent || given.bandwidth_mbps || given.mtu ||
                     given.cost || given.relays || !given.detection.empty() || !given.clear.empty();
    if (!any) throw CLI::ValidationError("Say what to limit, or what to --clear.");
  });
}

}  // namespace

void add_path_policy_commands(CLI::App& path, Invocation& invocation) {
  auto arguments = std::make_shared<PathArguments>();
  auto add_command = [&](const char* name, const char* help, auto command) {
    CLI::App* added = add_database_command(path, name, help, invocation,
                                           [=, &invocation](DatabaseClient& client) {
                                             return command(client, invocation, *arguments);
                                           });
    return added;
  };
  auto add_for_class = [&](const char* name, const char* help, auto command) {
    CLI::App* added = add_command(name, help, command);
    add_class(*added, *arguments);
    return added;
  };
  auto add_for_ends = [&](const char* name, const char* help, auto command, int ends) {
    CLI::App* added = add_for_class(name, help, command);
    add_end(*added, arguments->end);
    if (ends == 2) add_end(*added, arguments->other_end);
    return added;
  };

  add_force(*add_for_ends("pin", "Use these ends, as long as that carries at all", pin, 2),
            *arguments);
  add_for_ends("unpin", "Take a pin back", unpin, 2);
  CLI::App* preferring =
      add_for_class("prefer", "Prefer interfaces of a label where they are good enough", prefer);
  add_label(*preferring, *arguments);
  preferring->add_option("WEIGHT", arguments->weight, "The higher the better (default: 100)")
      ->check(CLI::Range(std::int64_t{1}, kMostPreference));
  add_force(*preferring, *arguments);
  add_label(*add_for_class("unprefer", "Take a preference back", unprefer), *arguments);
  add_force(*add_for_ends("forbid", "Do not use an interface", forbid, 1), *arguments);
  add_for_ends("permit", "Take back what was forbidden", permit, 1);
  auto add_for_ports = [&](const char* name, const char* help, auto command) {
    CLI::App* added = add_command(name, help, command);
    add_one_class(*added, *arguments);
    add_ports(*added, *arguments);
  };
  add_for_ports("assign", "Say of which class the traffic of ports is", assign);
  add_for_ports("unassign", "Take that back", unassign);
  add_limits(*add_for_class("limit", "Say what is good enough, and what may be used", limit),
             *arguments);
  add_command("policy", "Show all that is asked of paths", show);
}

}  // namespace homeport::agent
