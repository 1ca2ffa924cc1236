#include "agent/status/routes.h"

#include "agent/status/json.h"
#include "agent/status/metrics.h"
#include "agent/status/openapi.h"
#include "agent/status/path_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace homeport::agent {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;

constexpr std::string_view kJson = "application/json";

StatusResponse answer(const json::value& value) {
  return make_response(http::status::ok, kJson, json::serialize(value) + "\n");
}

/// The number in a parameter `limit`; nullopt unless it is one from 1 to kPageMax.
std::optional<std::size_t> page_size(std::string_view text) {
  std::size_t size = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (size < 1 || size > kPageMax) return std::nullopt;
  return size;
}

const std::string* given(const StatusQuery& query, std::string_view parameter) {
  auto found = query.find(parameter);
  return found == query.end() ? nullptr : &found->second;
}

/// A page of those of `values` that the query chooses: by the members that `filters` names, in the
/// order of `id`, from behind that of the page before.
template <class T>
json::object page(const StatusQuery& query, std::string_view key, const std::vector<T>& values,
                  std::string T::*id,
                  const std::vector<std::pair<std::string_view, std::string T::*>>& filters) {
  const std::string* after = given(query, "after");
  std::vector<const T*> chosen;
  for (const T& value : values) {
    const bool fits = std::all_of(filters.begin(), filters.end(), [&](const auto& filter) {
      const std::string* wanted = given(query, filter.first);
      return !wanted || value.*filter.second == *wanted;
    });
    if (fits && (!after || value.*id > *after)) chosen.push_back(&value);
  }
  const std::string* limit = given(query, kLimitParameter);
  const std::size_t most = limit ? page_size(*limit).value_or(kPageMax) : kPageMax;
  const bool more = chosen.size() > most;
  const std::size_t size = std::min(most, chosen.size());
  std::partial_sort(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(size),
                    chosen.end(), [&](const T* a, const T* b) { return a->*id < b->*id; });
  chosen.resize(size);
  json::array array;
  for (const T* value : chosen) array.emplace_back(to_json(*value));
  return {{key, std::move(array)},
          {"next", more ? json::value(chosen.back()->*id) : json::value(nullptr)}};
}

/// The one of `values` whose `id` is `wanted`, or 404.
template <class T>
StatusResponse one(std::string_view what, const std::vector<T>& values, std::string T::*id,
                   const std::string& wanted) {
  for (const T& value : values) {
    if (value.*id == wanted) return answer(to_json(value));
  }
  return problem(http::status::not_found,
                 fmt::format("This host knows no such {0}; /v1/{0}s lists those it knows.", what));
}

StatusResponse status(const StatusCall& call) {
  return answer(to_json(call.provider({StatusPart::all})));
}

StatusResponse applications(const StatusCall& call) {
  return answer(page<ApplicationSnapshot>(
      call.query, "applications", call.provider({StatusPart::applications}).applications,
      &ApplicationSnapshot::name,
      {{"state", &ApplicationSnapshot::state}, {"location", &ApplicationSnapshot::location}}));
}

StatusResponse application(const StatusCall& call) {
  return one("application", call.provider({StatusPart::applications}).applications,
             &ApplicationSnapshot::name, call.name);
}

StatusResponse tasks(const StatusCall& call) {
  return answer(page<TaskSnapshot>(
      call.query, "tasks", call.provider({StatusPart::tasks}).tasks, &TaskSnapshot::id,
      {{"state", &TaskSnapshot::state}, {"application", &TaskSnapshot::application}}));
}

StatusResponse task(const StatusCall& call) {
  return one("task", call.provider({StatusPart::tasks}).tasks, &TaskSnapshot::id, call.name);
}

StatusResponse datapath(const StatusCall& call) {
  const StatusModel model = call.provider({StatusPart::datapath});
  json::array differences(model.datapath.differences.begin(), model.datapath.differences.end());
  return answer(
      json::object{{"datapath", to_json(model.datapath)}, {"differences", std::move(differences)}});
}

StatusResponse paths(const StatusCall& call) {
  const StatusModel model = call.provider({StatusPart::paths});
  json::object result =
      page<PeerPathsSnapshot>(call.query, "peers", model.paths.peers, &PeerPathsSnapshot::peer, {});
  json::array ends;
  for (const PathEndSnapshot& end : model.paths.ends) ends.emplace_back(to_json(end));
  result["host"] = model.host;
  result["ends"] = std::move(ends);
  result["relaying"] = to_json(model.paths.relaying);
  return answer(result);
}

StatusResponse peer_paths(const StatusCall& call) {
  const StatusModel model = call.provider({StatusPart::paths, call.name});
  for (const PeerPathsSnapshot& peer : model.paths.peers) {
    if (peer.peer == call.name) return answer(peer_paths_json(model.host, model.paths, peer));
  }
  return problem(
      http::status::not_found,
      "This host negotiates no paths with such a host; /v1/paths lists those it does with: "
      "hosts with an application in a network of one that is here, where either of the two "
      "has more than one interface.");
}

StatusResponse events(const StatusCall&) {
  return make_response(http::status::ok, "text/event-stream", "");
}

StatusResponse health(const StatusCall&) {
  return answer(json::object{{"alive", true}});
}

StatusResponse readiness(const StatusCall& call) {
  const StatusModel model = call.provider({StatusPart::readiness});
  if (model.ready()) return answer(json::object{{"ready", true}});
  return problem(
      http::status::service_unavailable, fmt::format("Host {} is not ready for moves.", model.host),
      {{"ready", false}, {"reasons", json::array(model.not_ready.begin(), model.not_ready.end())}});
}

StatusResponse metrics(const StatusCall& call) {
  return make_response(http::status::ok, kMetricsContentType,
                       to_metrics(call.provider({StatusPart::all})));
}

StatusResponse openapi(const StatusCall&) {
  return make_response(http::status::ok, kJson, kOpenApi);
}

constexpr std::array<std::string_view, 4> kTraceProtocols{"tcp", "udp", "sctp", "icmp"};
constexpr std::array<std::string_view, 2> kYesOrNo{"yes", "no"};

policy::Error bad_query(std::string why) {
  return policy::make_error(boost::system::errc::invalid_argument, std::move(why));
}

}  // namespace

const std::vector<StatusRoute>& status_routes() {
  static const std::vector<StatusRoute> routes{
      {"/v1/status", {}, status},
      {"/v1/applications",
       {{kLimitParameter}, {"after"}, {"state", kApplicationStates}, {"location"}},
       applications},
      {"/v1/applications/{name}", {}, application},
      {"/v1/tasks", {{kLimitParameter}, {"after"}, {"state", kTaskStates}, {"application"}}, tasks},
      {"/v1/tasks/{id}", {}, task},
      {"/v1/datapath", {}, datapath},
      {"/v1/paths", {{kLimitParameter}, {"after"}}, paths},
      {"/v1/paths/{peer}", {}, peer_paths},
      {"/v1/events", {}, events, true},
      {"/v1/trace",
       {{"from"},
        {"to"},
        {"source"},
        {"protocol", kTraceProtocols},
        {"port"},
        {"source_port"},
        {"length"},
        {"hops"},
        {"fragment", kYesOrNo},
        {"at"},
        {"live"}},
       nullptr},
      {"/healthz", {}, health},
      {"/readyz", {}, readiness},
      {"/metrics", {}, metrics},
      {"/openapi.json", {}, openapi}};
  return routes;
}

const StatusRoute* find_route(const std::vector<std::string>& path, std::string& name) {
  for (const StatusRoute& route : status_routes()) {
    std::string_view rest = route.path;
    const bool fits = std::all_of(path.begin(), path.end(), [&](const std::string& segment) {
      if (rest.empty()) return false;
      rest.remove_prefix(1);
      const std::string_view wanted = rest.substr(0, rest.find('/'));
      rest.remove_prefix(wanted.size());
      if (!wanted.starts_with('{')) return segment == wanted;
      name = segment;
      return !segment.empty();
    });
    if (fits && rest.empty()) return &route;
  }
  return nullptr;
}

policy::Result<StatusQuery> check_query(
    const StatusRoute& route, const std::vector<std::pair<std::string, std::string>>& query) {
  StatusQuery checked;
  for (const auto& [name, value] : query) {
    auto known = std::find_if(route.parameters.begin(), route.parameters.end(),
                              [&](const StatusParameter& p) { return p.name == name; });
    if (known == route.parameters.end()) {
      if (route.parameters.empty()) return bad_query("This path has no parameters.");
      std::vector<std::string_view> names;
      for (const StatusParameter& parameter : route.parameters) names.push_back(parameter.name);
      return bad_query(fmt::format("The parameters of this path are {}.", fmt::join(names, ", ")));
    }
    if (value.empty()) return bad_query(fmt::format("The parameter {} is empty.", known->name));
    if (!known->values.empty() &&
        std::find(known->values.begin(), known->values.end(), value) == known->values.end()) {
      return bad_query(fmt::format("The parameter {} is one of {}.", known->name,
                                   fmt::join(known->values, ", ")));
    }
    if (known->name == kLimitParameter && !page_size(value)) {
      return bad_query(
          fmt::format("The parameter {} is a number from 1 to {}.", kLimitParameter, kPageMax));
    }
    if (!checked.emplace(name, value).second) {
      return bad_query(fmt::format("The parameter {} is given more than once.", known->name));
    }
  }
  return checked;
}

}  // namespace homeport::agent
