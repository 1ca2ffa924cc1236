// What the status server answers at which path, and the parameters that each path knows. The same
// is in openapi.json, for others; a test holds the two, and the answers, against each other.
#pragma once

#include "agent/status/reply.h"
#include "policy/error.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace homeport::agent {

inline constexpr std::size_t kPageMax = 1'000;
inline constexpr std::string_view kLimitParameter = "limit";

struct StatusParameter {
  std::string_view name;
  std::span<const std::string_view> values = {};  ///< Those there are; empty: any text.
};

/// The parameters of a query, checked.
using StatusQuery = std::map<std::string, std::string, std::less<>>;

struct StatusCall {
  std::string name;  ///< What stands for the {…} of the path.
  const StatusQuery& query;
  const StatusServer::Provider& provider;
};

struct StatusRoute {
  std::string_view path;  ///< With at most one segment in braces, which stands for any.
  std::vector<StatusParameter> parameters;
  StatusResponse (*answer)(const StatusCall&);  ///< None: StatusServer::Tracing answers.
  bool events = false;                          ///< Events follow the answer.
};

const std::vector<StatusRoute>& status_routes();

/// The route of a path, given as its segments; nullptr when there is none. Sets `name`.
const StatusRoute* find_route(const std::vector<std::string>& path, std::string& name);

/// The error says what is wrong with the query in words that are not the request's.
policy::Result<StatusQuery> check_query(
    const StatusRoute& route, const std::vector<std::pair<std::string, std::string>>& query);

}  // namespace homeport::agent
