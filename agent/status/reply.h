// What the status server answers to one request: a pure function of the request and the snapshot.
#pragma once

#include "agent/status/server.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include <string_view>

namespace homeport::agent {

using StatusRequest = boost::beast::http::request<boost::beast::http::empty_body>;
using StatusResponse = boost::beast::http::response<boost::beast::http::string_body>;

/// Answers `request`. `check_host`: the request came over TCP, where its Host field must name
/// this machine. `provider` is called only for what needs a snapshot.
StatusResponse reply_to(const StatusRequest& request, bool check_host,
                        const StatusServer::Provider& provider);

/// An application/problem+json answer (RFC 9457) after which the connection is closed: for
/// requests that could not be read.
StatusResponse closing_problem(boost::beast::http::status status, std::string_view detail);

}  // namespace homeport::agent
