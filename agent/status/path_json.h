// The paths of a status snapshot as JSON values, by the rules of json.h.
#pragma once

#include "agent/status/path_model.h"

#include <boost/json/value.hpp>

#include <string_view>

namespace homeport::agent {

boost::json::object to_json(const RelayingSnapshot& snapshot);
boost::json::object to_json(const PathEndSnapshot& end);
/// What /v1/paths has of a peer: no candidates, nothing of the past.
boost::json::object to_json(const PeerPathsSnapshot& peer);
/// What /v1/events tells of a class's path: a change as in /v1/paths/PEER, whose and how it stands.
boost::json::object to_json(const PathEvent& event);
/// Everything, as /v1/paths/PEER returns it; `host` is this one.
boost::json::object peer_paths_json(std::string_view host, const PathsSnapshot& paths,
                                    const PeerPathsSnapshot& peer);

}  // namespace homeport::agent
