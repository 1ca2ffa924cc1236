// What an agent tells of its paths.
#pragma once

#include <string>

#include "tests/lab/host.h"

namespace homeport::lab {

/// A class of the paths from one host to another.
struct ClassView {
  std::string state;
  std::string path, peer_path;  ///< by the interfaces here and there, "eth0 - eth1", or "none"
  std::string relay;            ///< of `path`
  unsigned carrying = 0;        ///< how many paths do in both directions
  std::string good_relays;      ///< those through which there are good paths, one behind the other
  std::string cause;
  std::string explanation;  ///< all that the agent tells, for a message
};

/// `state` is what was answered where that says nothing of the class.
ClassView path_view(const Host& host, const Host& peer, const std::string& traffic = "interactive");

/// Waits until both say that they use the same path; returns it as `host` tells it.
ClassView wait_paths_agreed(const Host& host, const Host& peer,
                            const std::string& traffic = "interactive",
                            Clock::duration timeout = 20s);

}  // namespace homeport::lab
