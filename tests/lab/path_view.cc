#include "tests/lab/path_view.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <sstream>

#include "tests/lab/programs.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace json = boost::json;
namespace {

std::string text(const json::value* value) {
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::string name_of(const json::value* path) {
  if (path == nullptr || !path->is_object()) return "none";
  const auto interface = [&](const char* end) {
    const std::string name = text(path->at(end).as_object().if_contains("interface"));
    return name.empty() ? std::string("not known yet") : name;
  };
  return interface("local") + " - " + interface("remote");
}

}  // namespace

ClassView path_view(const Host& host, const Host& peer, const std::string& traffic) {
  const std::string reply = host.get("/v1/paths/" + peer.name());
  boost::system::error_code bad;
  const auto body = json::parse(reply.substr(std::min(reply.size(), reply.find("\r\n\r\n"))), bad);
  ClassView view;
  view.state = reply;
  if (bad || !body.is_object() || !body.as_object().contains("classes")) return view;
  for (const auto& each : body.at("classes").as_array()) {
    const auto& fields = each.as_object();
    if (fields.at("class") != json::value(traffic)) continue;
    view.state = text(fields.if_contains("state"));
    view.path = name_of(fields.if_contains("path"));
    view.peer_path = name_of(fields.if_contains("peer_path"));
    const json::value* path = fields.if_contains("path");
    if (path != nullptr && path->is_object())
      view.relay = text(path->as_object().if_contains("relay"));
    for (const json::value& ranked : fields.at("ranked").as_array()) {
      const json::value& quality = ranked.at("quality");
      view.carrying += quality.at("out").at("reachable") == json::value(true) &&
                       quality.at("in").at("reachable") == json::value(true);
      const json::value& direct = ranked.at("path");
      if (text(direct.as_object().if_contains("relay")).empty()) {
        view.standings[name_of(&direct)] = text(&ranked.at("standing"));
      }
      if (ranked.at("standing") != json::value("good")) continue;
      view.good_relays += text(ranked.at("path").as_object().if_contains("relay"));
    }
    view.cause = text(fields.if_contains("cause"));
    view.explanation = json::serialize(each);
  }
  return view;
}

ClassView wait_paths_agreed(const Host& host, const Host& peer, const std::string& traffic,
                            Clock::duration timeout) {
  ClassView here, there;
  wait_until(
      [&] {
        here = path_view(host, peer, traffic);
        there = path_view(peer, host, traffic);
        return here.state == "agreed" && there.state == "agreed" && here.path == here.peer_path;
      },
      timeout, "the two hosts to agree on a path",
      [&] {
        return host.name() + ": " + here.state + ", " + here.path + "; " + peer.name() + ": " +
               there.state + ", " + there.path;
      });
  return here;
}

PathWatch::PathWatch(const Host& host, const Host& peer, const std::string& traffic,
                     const std::filesystem::path& log)
    : process_({homeport_program(), "path", "watch", peer.name(), "--class", traffic, "--json"},
               {.inside = &host.inside(), .log = log}) {
  wait_until([&] { return !changes().empty(); }, 20s, "the path in use to be told",
             [&] { return process_.log_tail(); });
}

std::vector<PathWatch::Change> PathWatch::changes() const {
  std::vector<Change> all;
  std::string last;
  std::istringstream lines(read_text(process_.log()));
  for (std::string line; std::getline(lines, line);) {
    boost::system::error_code bad;
    const json::value event = json::parse(line, bad);
    // The last line may be half written, and the error of a client that ends early is no event.
    if (bad || !event.is_object() || event.at("event") != json::value("path")) continue;
    // How it stands with the other host changes more often than the path.
    const std::string change = json::serialize(event.at("time")) + json::serialize(event.at("to"));
    if (std::exchange(last, change) == change) continue;
    all.push_back({name_of(&event.at("from")), name_of(&event.at("to")), text(&event.at("cause")),
                   text(&event.at("text"))});
  }
  return all;
}

PathWatch::Change PathWatch::wait_change(const std::string& to, const std::string& cause,
                                         Clock::duration timeout) {
  Change found;
  wait_until(
      [&] {
        const std::vector<Change> all = changes();
        const auto it = std::find_if(
            all.begin() + static_cast<std::ptrdiff_t>(std::min(seen_, all.size())), all.end(),
            [&](const Change& each) { return each.to == to && each.cause == cause; });
        if (it == all.end()) return false;
        found = *it;
        seen_ = static_cast<std::size_t>(it - all.begin()) + 1;
        return true;
      },
      timeout, "to be told of a change to " + to + ", " + cause, [&] { return told(); });
  return found;
}

std::string PathWatch::told() const {
  std::string all;
  for (const Change& each : changes()) {
    all += each.from + " -> " + each.to + ", " + each.cause + ": " + each.text + "\n";
  }
  return all;
}

}  // namespace homeport::lab
