#include "agent/status/reply.h"

#include "agent/status/json.h"
#include "agent/status/metrics.h"

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

namespace homeport::agent {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;
namespace urls = boost::urls;

StatusResponse make_response(http::status status, std::string_view content_type, std::string body) {
  StatusResponse response(status, 11);
  response.set(http::field::server, "homeport");
  response.set(http::field::content_type, boost::beast::string_view(content_type));
  response.set(http::field::cache_control, "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  response.body() = std::move(body);
  response.prepare_payload();
  return response;
}

StatusResponse answer(const json::value& value) {
  return make_response(http::status::ok, "application/json", json::serialize(value) + "\n");
}

StatusResponse problem(http::status status, std::string_view detail, json::object more = {}) {
  more["type"] = "about:blank";
  more["title"] = std::string_view(http::obsolete_reason(status));
  more["status"] = static_cast<unsigned>(status);
  more["detail"] = detail;
  return make_response(status, "application/problem+json", json::serialize(more) + "\n");
}

StatusResponse readiness(const StatusModel& model) {
  if (model.ready()) return answer(json::object{{"ready", true}});
  return problem(
      http::status::service_unavailable, fmt::format("Host {} is not ready for moves.", model.host),
      {{"ready", false}, {"reasons", json::array(model.not_ready.begin(), model.not_ready.end())}});
}

template <class T>
StatusResponse list(std::string_view key, const std::vector<T>& values) {
  json::array array;
  for (const T& value : values) array.emplace_back(to_json(value));
  return answer(json::object{{key, std::move(array)}});
}

/// The one of `values` whose `member` is `wanted`, or 404.
template <class T>
StatusResponse one(std::string_view what, const std::vector<T>& values, std::string T::*member,
                   const std::string& wanted) {
  for (const T& value : values) {
    if (value.*member == wanted) return answer(to_json(value));
  }
  return problem(
      http::status::not_found,
      fmt::format("This host knows no {0} \"{1}\"; /v1/{0}s lists what it knows.", what, wanted));
}

/// The routes. A path that no route has gives 404 without a snapshot being taken.
StatusResponse route(const std::vector<std::string>& path, const StatusServer::Provider& provider) {
  if (path == std::vector<std::string>{"healthz"}) return answer(json::object{{"alive", true}});
  if (path == std::vector<std::string>{"readyz"}) return readiness(provider());
  if (path == std::vector<std::string>{"metrics"}) {
    return make_response(http::status::ok, kMetricsContentType, to_metrics(provider()));
  }
  bool v1 = path.size() >= 2 && path[0] == "v1";
  if (v1 && path.size() == 2) {
    if (path[1] == "status") return answer(to_json(provider()));
    if (path[1] == "applications") return list("applications", provider().applications);
    if (path[1] == "tasks") return list("tasks", provider().tasks);
  }
  if (v1 && path.size() == 3) {
    if (path[1] == "applications") {
      return one("application", provider().applications, &ApplicationSnapshot::name, path[2]);
    }
    if (path[1] == "tasks") return one("task", provider().tasks, &TaskSnapshot::id, path[2]);
  }
  return problem(http::status::not_found,
                 "There is /v1/status, /v1/applications, /v1/tasks, /healthz, /readyz and "
                 "/metrics.");
}

/// Whether a Host field (RFC 9110, section 7.2) names this machine itself.
bool names_this_machine(std::string_view host) {
  auto authority = urls::parse_authority(boost::core::string_view(host));
  if (authority.has_error() || authority->has_userinfo()) return false;
  std::string name(authority->host_address());
  if (boost::beast::iequals(name, "localhost")) return true;
  boost::system::error_code ec;
  auto address = boost::asio::ip::make_address(name, ec);
  return !ec && address.is_loopback();
}

StatusResponse respond(const StatusRequest& request, bool check_host,
                       const StatusServer::Provider& provider) {
  auto host = request.find(http::field::host);
  if (host == request.end()) {
    // RFC 9112, section 3.2: without it an HTTP/1.1 request is not one.
    if (request.version() >= 11) {
      return problem(http::status::bad_request, "The request has no Host field.");
    }
  } else if (check_host && !names_this_machine(host->value())) {
    return problem(http::status::misdirected_request,
                   "The Host field must name a loopback address or localhost.");
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    StatusResponse refusal =
        problem(http::status::method_not_allowed,
                "The status can only be read: use GET or HEAD. Changes go through the control "
                "database, for example with the command homeport.");
    refusal.set(http::field::allow, "GET, HEAD");
    return refusal;
  }
  auto url = urls::parse_origin_form(request.target());
  if (url.has_error()) {
    return problem(http::status::bad_request, "The request target is not a valid path.");
  }
  std::vector<std::string> path;
  for (const auto& segment : url->segments()) path.emplace_back(segment.begin(), segment.end());
  return route(path, provider);
}

}  // namespace

StatusResponse reply_to(const StatusRequest& request, bool check_host,
                        const StatusServer::Provider& provider) {
  StatusResponse response = respond(request, check_host, provider);
  response.version(request.version());
  response.keep_alive(request.keep_alive());
  // RFC 9110, section 9.3.2: HEAD has the header of GET, Content-Length included, and no body.
  if (request.method() == http::verb::head) response.body().clear();
  return response;
}

StatusResponse closing_problem(http::status status, std::string_view detail) {
  StatusResponse response = problem(status, detail);
  response.keep_alive(false);
  return response;
}

}  // namespace homeport::agent
