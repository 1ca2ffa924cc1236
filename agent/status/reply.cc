#include "agent/status/reply.h"

#include "agent/status/routes.h"

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/grammar/error.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <xxhash.h>

#include <algorithm>

namespace homeport::agent {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;
namespace urls = boost::urls;

/// Whether the host and port of a request (RFC 9110, section 7.2) name this machine itself.
bool names_this_machine(std::string_view host) {
  auto authority = urls::parse_authority(boost::core::string_view(host));
  if (authority.has_error() || authority->has_userinfo()) return false;
  std::string name(authority->host_address());
  if (boost::beast::iequals(name, "localhost")) return true;
  boost::system::error_code ec;
  auto address = boost::asio::ip::make_address(name, ec);
  return !ec && address.is_loopback();
}

/// The target of a request: "/path?query", or a whole URI, which a server has to understand too
/// (RFC 9112, section 3.2.2).
boost::system::result<urls::url_view> parse_target(boost::core::string_view target) {
  if (target.starts_with('/')) return urls::parse_origin_form(target);
  auto uri = urls::parse_absolute_uri(target);
  if (uri && (uri->scheme_id() != urls::scheme::http || !uri->has_authority())) {
    return urls::grammar::error::invalid;
  }
  return uri;
}

StatusReply respond(const StatusRequest& request, bool check_host,
                    const StatusServer::Provider& provider) {
  // RFC 9112, section 3.2: without exactly one a request of HTTP/1.1 is not one.
  const auto hosts = request.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && request.version() >= 11)) {
    return {problem(http::status::bad_request, "A request has one Host field.")};
  }
  auto url = parse_target(request.target());
  if (url.has_error()) {
    return {problem(http::status::bad_request, "The request target is not a valid path.")};
  }
  const std::string host(url->has_authority() ? std::string(url->encoded_authority())
                                              : std::string(request[http::field::host]));
  if (check_host && (hosts > 0 || url->has_authority()) && !names_this_machine(host)) {
    return {problem(http::status::misdirected_request,
                    "The Host field must name a loopback address or localhost.")};
  }

  std::vector<std::string> path;
  for (const auto& segment : url->segments()) path.emplace_back(segment.begin(), segment.end());
  std::string name;
  const StatusRoute* route = find_route(path, name);
  if (!route) {
    return {problem(http::status::not_found,
                    "There is nothing at this path; /openapi.json describes those there are.")};
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    StatusResponse refusal =
        problem(http::status::method_not_allowed,
                "The status can only be read: use GET or HEAD. Changes go through the control "
                "database, for example with the command homeport.");
    refusal.set(http::field::allow, "GET, HEAD");
    return {std::move(refusal)};
  }
  std::vector<std::pair<std::string, std::string>> query;
  if (!url->encoded_query().empty()) {
    for (const auto& parameter : url->params()) query.emplace_back(parameter.key, parameter.value);
  }
  auto checked = check_query(*route, query);
  if (!checked) return {problem(http::status::bad_request, checked.error().message)};
  if (!route->answer) return {{}, false, std::move(*checked)};
  return {route->answer({std::move(name), *checked, provider}), route->events};
}

http::status status_of(const policy::Error& error) {
  namespace errc = boost::system::errc;
  if (error.code == errc::invalid_argument) return http::status::bad_request;
  if (error.code == errc::no_such_file_or_directory) return http::status::not_found;
  if (error.code == errc::resource_unavailable_try_again) {
    return http::status::service_unavailable;
  }
  return http::status::internal_server_error;
}

/// Whether the peer says that it has this answer already (RFC 9110, section 13.1.2). An entity tag
/// has no quotation mark inside, so that it is found in a list as it stands, weak or strong.
bool has_already(const StatusRequest& request, std::string_view etag) {
  auto [begin, end] = request.equal_range(http::field::if_none_match);
  return std::any_of(begin, end, [&](const auto& field) {
    return field.value() == "*" || field.value().find(etag) != boost::beast::string_view::npos;
  });
}

void tag(const StatusRequest& request, StatusResponse& response) {
  const XXH128_hash_t hash = XXH3_128bits(response.body().data(), response.body().size());
  const std::string etag = fmt::format("\"{:016x}{:016x}\"", hash.high64, hash.low64);
  response.set(http::field::etag, etag);
  if (!has_already(request, etag)) return;
  response.result(http::status::not_modified);
  response.body().clear();
  response.erase(http::field::content_length);
  response.erase(http::field::content_type);
}

/// What every response gets that is not a stream.
StatusResponse finished(const StatusRequest& request, StatusResponse response) {
  response.version(request.version());
  response.keep_alive(request.keep_alive());
  if (response.result() == http::status::ok) tag(request, response);
  // RFC 9110, section 9.3.2: HEAD has the header of GET, Content-Length included, and no body.
  if (request.method() == http::verb::head) response.body().clear();
  return response;
}

}  // namespace

StatusResponse make_response(http::status status, std::string_view content_type, std::string body) {
  StatusResponse response(status, 11);
  response.set(http::field::server, "homeport");
  response.set(http::field::content_type, boost::beast::string_view(content_type));
  // What is kept is asked about again, by its entity tag, before it is used.
  response.set(http::field::cache_control, status == http::status::ok ? "no-cache" : "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  response.body() = std::move(body);
  response.prepare_payload();
  return response;
}

StatusResponse problem(http::status status, std::string_view detail, json::object more) {
  more["type"] = "about:blank";
  more["title"] = std::string_view(http::obsolete_reason(status));
  more["status"] = static_cast<unsigned>(status);
  more["detail"] = detail;
  return make_response(status, "application/problem+json", json::serialize(more) + "\n");
}

StatusReply reply_to(const StatusRequest& request, bool check_host,
                     const StatusServer::Provider& provider) {
  StatusReply reply = respond(request, check_host, provider);
  if (reply.trace) return reply;
  if (reply.events) {
    // A stream ends with its connection.
    reply.response.version(request.version());
    reply.response.keep_alive(false);
    reply.response.erase(http::field::content_length);
    reply.events = request.method() != http::verb::head;
    return reply;
  }
  reply.response = finished(request, std::move(reply.response));
  return reply;
}

StatusResponse traced_reply(const StatusRequest& request,
                            const policy::Result<json::object>& traced) {
  if (!traced) {
    return finished(request, problem(status_of(traced.error()), traced.error().message));
  }
  return finished(request, make_response(http::status::ok, "application/json",
                                         json::serialize(*traced) + "\n"));
}

StatusResponse closing_problem(http::status status, std::string_view detail) {
  StatusResponse response = problem(status, detail);
  response.keep_alive(false);
  return response;
}

}  // namespace homeport::agent
