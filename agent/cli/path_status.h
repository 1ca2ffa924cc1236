// homeport path list, show, explain and watch: what this machine's agent says of the paths to other
// hosts.
#pragma once

namespace CLI {
class App;
}

namespace homeport::agent {

struct Invocation;

/// Adds the four to `path`, the group of commands; `invocation` must outlive it.
void add_path_views(CLI::App& path, Invocation& invocation);

}  // namespace homeport::agent
