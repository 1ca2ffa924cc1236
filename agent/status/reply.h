// What the status server answers to one request: a pure function of the request and the snapshot.
#pragma once

#include "agent/status/server.h"
#include "policy/error.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/object.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace homeport::agent {

using StatusRequest = boost::beast::http::request<boost::beast::http::empty_body>;
using StatusResponse = boost::beast::http::response<boost::beast::http::string_body>;

struct StatusReply {
  StatusResponse response;
  /// Only the header is there: send it, and then events for as long as the connection lasts.
  bool events = false;
  /// There is no response yet: it is traced_reply() of what StatusServer::Tracing says to this.
  std::optional<std::map<std::string, std::string, std::less<>>> trace = {};
};

/// Answers `request`. `check_host`: the request came over TCP, where it must name this machine as
/// the host. `provider` is called only for what needs a snapshot.
StatusReply reply_to(const StatusRequest& request, bool check_host,
                     const StatusServer::Provider& provider);

/// The answer to a request for which reply_to() had a query to trace.
StatusResponse traced_reply(const StatusRequest& request,
                            const policy::Result<boost::json::object>& traced);

StatusResponse make_response(boost::beast::http::status status, std::string_view content_type,
                             std::string body);

/// An application/problem+json answer (RFC 9457). `detail` and `more` never hold anything of the
/// request: what it holds need not even be UTF-8.
StatusResponse problem(boost::beast::http::status status, std::string_view detail,
                       boost::json::object more = {});

/// A problem after which the connection is closed: for requests that could not be read.
StatusResponse closing_problem(boost::beast::http::status status, std::string_view detail);

}  // namespace homeport::agent
