// What an agent tells of its paths.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "tests/lab/host.h"
#include "tests/lab/process.h"

namespace homeport::lab {

/// A class of the paths from one host to another.
struct ClassView {
  std::string state;
  std::string path, peer_path;  ///< by the interfaces here and there, "eth0 - eth1", or "none"
  std::string relay;            ///< of `path`
  unsigned carrying = 0;        ///< how many paths do in both directions
  std::string good_relays;      ///< those through which there are good paths, one behind the other
  std::map<std::string, std::string> standings;  ///< of each direct path, by its name
  std::string cause;
  std::string explanation;  ///< all that the agent tells, for a message
};

/// `state` is what was answered where that says nothing of the class.
ClassView path_view(const Host& host, const Host& peer, const std::string& traffic = "interactive");

/// Waits until both say that they use the same path; returns it as `host` tells it.
ClassView wait_paths_agreed(const Host& host, const Host& peer,
                            const std::string& traffic = "interactive",
                            Clock::duration timeout = 20s);

/// A client that follows one class of the paths from a host to another: `homeport path watch`.
class PathWatch {
 public:
  struct Change {
    std::string from, to;  ///< as ClassView::path
    std::string cause;
    std::string text;
  };

  PathWatch(const Host& host, const Host& peer, const std::string& traffic,
            const std::filesystem::path& log);

  /// What it has been told of: first the path that was in use, then every other one.
  std::vector<Change> changes() const;
  /// Waits until it is told, after what was waited for before, of a change to that path for that
  /// cause; returns it.
  Change wait_change(const std::string& to, const std::string& cause, Clock::duration timeout);
  std::string told() const;

 private:
  Process process_;
  std::size_t seen_ = 1;  ///< of changes()
};

}  // namespace homeport::lab
