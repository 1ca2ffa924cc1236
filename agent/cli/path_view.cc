#include "agent/cli/path_view.h"

#include "agent/cli/output.h"
#include "agent/status/path_units.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>
#include <exception>
#include <vector>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using policy::Micros;

/// Text fit for a terminal, number or truth; nothing for null.
std::string text(const json::value& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return for_terminal(value.get_string());
  if (value.is_bool()) return value.get_bool() ? "yes" : "no";
  return json::serialize(value);
}

std::string micros(const json::value& value) {
  return value.is_null() ? "" : format_micros(Micros(value.to_number<std::int64_t>()));
}

std::string loss(const json::value& value) {
  return value.is_null() ? "" : format_loss(value.to_number<policy::LossPpm>());
}

std::string rate(const json::value& value) {
  return value.is_null() ? "" : format_rate(value.to_number<std::uint64_t>());
}

/// "2026-01-31 23:59:58Z" of RFC 3339 with milliseconds.
std::string moment(const json::value& value) {
  std::string time = text(value);
  if (time.size() != sizeof("2026-01-31T23:59:58.250Z") - 1) return time;
  time[10] = ' ';
  return time.substr(0, 19) + "Z";
}

std::string point(const json::value& end) {
  const std::string interface = text(end.at("interface"));
  return (interface.empty() ? "" : interface + " ") + text(end.at("address"));
}

std::string local(const json::value& path) {
  return path.is_null() ? "" : point(path.at("local"));
}

std::string remote(const json::value& path) {
  if (path.is_null()) return "";
  const std::string relay = text(path.at("relay"));
  return point(path.at("remote")) + (relay.empty() ? "" : " through " + relay);
}

std::string words(const json::value& path) {
  return local(path) + " -> " + remote(path);
}

/// The greater of both directions' losses.
std::string worse_loss(const json::value& quality) {
  const json::value& out = quality.at("out").at("loss_ppm");
  const json::value& in = quality.at("in").at("loss_ppm");
  if (out.is_null() || in.is_null()) return loss(out.is_null() ? in : out);
  return loss(out.to_number<std::uint32_t>() > in.to_number<std::uint32_t>() ? out : in);
}

/// The lesser of both directions' figures of that name; null: neither is known.
json::value lesser(const json::value& quality, const char* name) {
  const json::value& out = quality.at("out").at(name);
  const json::value& in = quality.at("in").at(name);
  if (out.is_null() || in.is_null()) return out.is_null() ? in : out;
  return out.to_number<std::uint64_t>() < in.to_number<std::uint64_t>() ? out : in;
}

/// Of one direction: its loss, or that it carries nothing, or that nobody knows.
std::string direction(const json::value& quality) {
  const json::value& reachable = quality.at("reachable");
  if (reachable.is_null()) return "";
  if (!reachable.as_bool()) return "broken";
  const std::string known = loss(quality.at("loss_ppm"));
  return known.empty() ? "carries" : known;
}

std::string standing(const json::value& path) {
  std::string word = text(path.at("standing"));
  const std::string obstacle = text(path.at("obstacle"));
  if (obstacle != "none" && obstacle != word) word += ": " + obstacle;
  if (!path.at("damped_until").is_null()) word += " until " + moment(path.at("damped_until"));
  return word;
}

/// Empty where nothing is.
std::string relaying(const json::value& paths) {
  const json::value& told = paths.at("relaying");
  const auto hosts = told.at("hosts").to_number<std::uint64_t>();
  const auto labels = told.at("labels").to_number<std::uint64_t>();
  if (labels == 0) return "";
  return fmt::format("Relays for {} host{}, by {} label{}.\n", hosts, hosts == 1 ? "" : "s", labels,
                     labels == 1 ? "" : "s");
}

/// "1 good, 1 damped": those that could be used.
std::string usable(const json::value& of) {
  std::vector<std::string> counts;
  for (const auto& [standing, count] : of.at("candidates").as_object()) {
    if (standing == "excluded" || count.to_number<std::uint64_t>() == 0) continue;
    counts.push_back(
        fmt::format("{} {}", count.to_number<std::uint64_t>(), for_terminal(standing)));
  }
  return join(counts, ", ");
}

std::string list_of(const json::value& paths) {
  if (paths.at("peers").as_array().empty()) {
    return "Nothing to choose: no other host has an application in common with this one, or all "
           "have one interface and none relays.\n" +
           relaying(paths);
  }
  Table table({{"PEER"},
               {"CLASS"},
               {"FROM"},
               {"TO"},
               {"RTT", true},
               {"LOSS", true},
               {"STATE"},
               {"SINCE"},
               {"PATHS"}});
  for (const json::value& peer : paths.at("peers").as_array()) {
    const std::string unconnected = peer.at("connected").as_bool() ? "" : ", not connected";
    for (const json::value& of : peer.at("classes").as_array()) {
      const json::value& path = of.at("path");
      const json::value& quality = of.at("quality");
      table.add({text(peer.at("peer")), text(of.at("class")), local(path), remote(path),
                 micros(quality.at("rtt_us")), worse_loss(quality),
                 text(of.at("state")) + unconnected, moment(of.at("since")), usable(of)});
    }
  }
  return table.to_string() + relaying(paths);
}

std::string ranking(const json::value& of) {
  Table table({{""},
               {"FROM"},
               {"TO"},
               {"RTT", true},
               {"VARIATION", true},
               {"LOSS OUT", true},
               {"LOSS IN", true},
               {"BANDWIDTH", true},
               {"MTU", true},
               {"AGE", true},
               {"COUNTS AS", true},
               {"STANDING"}});
  std::size_t place = 0;
  for (const json::value& path : of.at("ranked").as_array()) {
    const json::value& quality = path.at("quality");
    const std::string number = std::to_string(++place);
    table.add({path.at("in_use").as_bool() ? number + "*" : number, local(path.at("path")),
               remote(path.at("path")), micros(quality.at("rtt_us")),
               micros(quality.at("variation_us")), direction(quality.at("out")),
               direction(quality.at("in")), rate(lesser(quality, "bits_per_second")),
               text(lesser(quality, "mtu")), micros(path.at("age_us")),
               micros(path.at("counted_us")), standing(path)});
  }
  return table.to_string();
}

std::string ends(const json::value& list) {
  if (list.as_array().empty()) return "No interface.\n";
  Table table({{"INTERFACE"},
               {"ADDRESS"},
               {"SPEED", true},
               {"MTU", true},
               {"COST", true},
               {"LABELS"},
               {"DEFAULT ROUTE"},
               {"OFFERED"}});
  for (const json::value& end : list.as_array()) {
    std::vector<std::string> labels;
    for (const json::value& label : end.at("labels").as_array()) labels.push_back(text(label));
    const std::string not_offered = text(end.at("not_offered"));
    table.add({text(end.at("interface")), text(end.at("address")), rate(end.at("bits_per_second")),
               text(end.at("mtu")), text(end.at("cost")), join(labels, ", "),
               text(end.at("default_route")), not_offered.empty() ? "yes" : "no: " + not_offered});
  }
  return table.to_string();
}

/// "interactive: agreed, since 2026-01-31 23:59:58Z (better)".
std::string heading(const json::value& of) {
  std::string line = fmt::format("{}: {}", text(of.at("class")), text(of.at("state")));
  if (!of.at("since").is_null()) {
    line += fmt::format(", since {} ({})", moment(of.at("since")), text(of.at("cause")));
  }
  const json::value& theirs = of.at("peer_path");
  if (!theirs.is_null() && theirs != of.at("path")) line += "; the peer uses " + words(theirs);
  return line + "\n";
}

std::string page_of(const json::value& peer) {
  const std::string host = text(peer.at("host"));
  const std::string name = text(peer.at("peer"));
  const bool controls = peer.at("role").as_string() == "controlling";
  std::string page = fmt::format("Paths from {} to {}: {} nominates, {} follows.\n", host, name,
                                 controls ? host : name, controls ? name : host);
  const std::string since = moment(peer.at("since"));
  page += fmt::format("The agent of {} is {}connected{}.\n", name,
                      peer.at("connected").as_bool() ? "" : "not ",
                      since.empty() ? "" : " since " + since);
  page += fmt::format("{} of {} probes were answered.\n", text(peer.at("probes_answered")),
                      text(peer.at("probes_sent")));
  for (const json::value& of : peer.at("classes").as_array()) {
    page += "\n" + heading(of);
    page += of.at("ranked").as_array().empty() ? "No path is offered by both.\n" : ranking(of);
  }
  page += fmt::format("\n{} has:\n{}", host, ends(peer.at("ends")));
  page += fmt::format("\n{} offers:\n{}", name, ends(peer.at("peer_ends")));
  if (peer.at("recent").as_array().empty()) return page;
  page += "\nThe last changes:\n";
  for (const json::value& change : peer.at("recent").as_array()) {
    page += fmt::format("{}  {}\n", moment(change.at("time")), text(change.at("text")));
  }
  return page;
}

std::string explanation_of(const json::value& peer, const std::string& traffic) {
  std::string page;
  for (const json::value& of : peer.at("classes").as_array()) {
    if (!traffic.empty() && of.at("class").as_string() != traffic) continue;
    if (!page.empty()) page += "\n";
    page += heading(of);
    for (const json::value& sentence : of.at("explanation").as_array()) {
      page += "  " + text(sentence) + "\n";
    }
    for (const json::value& path : of.at("ranked").as_array()) {
      if (path.at("in_use").as_bool()) continue;
      page += fmt::format("  {}:\n    {}\n", words(path.at("path")), text(path.at("why")));
      if (!path.at("remedy").is_null()) page += "    " + text(path.at("remedy")) + "\n";
    }
  }
  return page;
}

/// "2026-01-31 23:59:58Z  hostB  agreed     bulk goes eth0 192.0.2.1 -> ...".
std::string event_line(const std::string& name, const json::value& event) {
  const std::string peer = text(event.at("peer"));
  const std::string traffic = text(event.at("class"));
  if (name == "path-removed") {
    return fmt::format("{:20}  {}  {:9}  {} is no longer negotiated.\n", "", peer, "", traffic);
  }
  std::string what = text(event.at("text"));
  if (what.empty()) {
    what = fmt::format("{} goes {}: it did before the agent was started.", traffic,
                       words(event.at("to")));
  }
  return fmt::format("{:20}  {}  {:9}  {}\n", moment(event.at("time")), peer,
                     text(event.at("state")), what);
}

template <class Make>
policy::Result<std::string> checked(Make make) {
  // Boost.JSON's checked accessors report a missing or different member by an exception.
  try {
    return make();
  } catch (const std::exception& error) {
    return policy::make_error(
        boost::system::errc::protocol_error,
        fmt::format("What the agent tells of paths is not what this version expects ({}); use "
                    "`homeport` and `homeportd` of one version, or --json.",
                    error.what()));
  }
}

}  // namespace

policy::Result<std::string> path_list(const json::value& paths) {
  return checked([&] { return list_of(paths); });
}

policy::Result<std::string> path_page(const json::value& peer) {
  return checked([&] { return page_of(peer); });
}

policy::Result<std::string> path_explanation(const json::value& peer, const std::string& traffic) {
  return checked([&] { return explanation_of(peer, traffic); });
}

policy::Result<std::string> path_event(const std::string& name, const json::value& event) {
  return checked([&] { return event_line(name, event); });
}

}  // namespace homeport::agent
