#include "agent/database_server/db_init.h"

#include "agent/database_server/cluster.h"
#include "agent/database_server/ovsdb_tool.h"
#include "agent/database_server/server_rows.h"
#include "overlay/read_file.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <boost/asio/ip/address.hpp>

#include <cerrno>
#include <fstream>
#include <iterator>

namespace homeport::agent {

namespace fs = std::filesystem;
namespace errc = boost::system::errc;

namespace {

constexpr int kStopTimeoutMs = 10000;

struct Files {
  explicit Files(const fs::path& folder)
      : database(folder / "homeport.db"),
        socket(folder / "homeport.sock"),
        control(folder / "ovsdb-server.ctl"),
        pid(folder / "ovsdb-server.pid"),
        log(folder / "ovsdb-server.log") {}
  fs::path database, socket, control, pid, log;
};

/// Whether somebody accepts connections there.
bool answers(const fs::path& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  bool accepted = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return accepted;
}

policy::Result<void> check_options(const DatabaseServerOptions& options, const Files& files) {
  if (files.socket.string().size() >= sizeof sockaddr_un{}.sun_path) {
    return policy::make_error(errc::filename_too_long,
                              fmt::format("{} is too long for the path of a unix socket: choose a "
                                          "directory with a shorter name",
                                          files.socket.string()));
  }
  auto readable = [](const fs::path& file) { return access(file.c_str(), R_OK) == 0; };
  if (!readable(options.schema)) {
    return policy::errno_error("cannot read the database schema " + options.schema.string());
  }
  std::vector<fs::path> tls;
  auto add = [&](const overlay::ovsdb::TlsFiles& more) {
    tls.insert(tls.end(), {more.private_key, more.certificate, more.ca_certificate});
  };
  if (options.tls) add(options.tls->files);
  if (options.cluster) add(options.cluster->files);
  for (const auto& file : tls) {
    if (!readable(file)) {
      return policy::errno_error("cannot read " + file.string() +
                                 ", needed to serve the database over TLS");
    }
  }
  return {};
}

/// What has to be so before a server can be started.
policy::Result<void> check_listeners(const DatabaseServerOptions& options) {
  if (options.cluster) {
    if (auto free = check_listener(options.cluster->local); !free) return free;
  }
  if (!options.tls) return {};
  return check_listener({boost::asio::ip::make_address(options.tls->address), options.tls->port});
}

/// True when the file was made now.
policy::Result<bool> make_database(const DatabaseServerOptions& options, const Files& files) {
  std::error_code error;
  if (!fs::exists(files.database, error)) {
    // Made beside and renamed, so that an interrupted run leaves no half of a database.
    auto draft = files.database;
    draft += ".new";
    fs::remove(draft, error);
    if (options.cluster) {
      if (auto made = make_cluster_file(options, draft); !made) return made.error();
    } else {
      auto made = run_tool_successfully({"ovsdb-tool", "create", draft, options.schema});
      if (!made) return made.error();
    }
    fs::rename(draft, files.database, error);
    if (error) return policy::errno_error("cannot make " + files.database.string(), error.value());
    return true;
  }
  if (options.cluster) return false;  // its schema is asked for when it is in touch
  auto theirs = run_tool_successfully({"ovsdb-tool", "db-version", files.database});
  if (!theirs) return theirs.error();
  auto ours = run_tool_successfully({"ovsdb-tool", "schema-version", options.schema});
  if (!ours) return ours.error();
  if (*theirs == *ours) return false;
  return policy::make_error(
      errc::wrong_protocol_type,
      fmt::format(
          "{} has schema version {}, this program's is {}, and it was left as it is: choose "
          "another directory, or keep a copy and, while its server runs, give "
          "`ovsdb-client convert unix:{}` the homeport.ovsschema that is installed with this "
          "program",
          files.database.string(), *theirs, *ours, files.socket.string()));
}

policy::Result<void> start_server(const DatabaseServerOptions& options, const Files& files) {
  auto option = [](const char* name, const fs::path& file) {
    return fmt::format("--{}={}", name, file.string());
  };
  std::vector<std::string> command{
      "ovsdb-server",
      "--detach",
      "--no-self-confinement",
      "-vconsole:off",
      "-vsyslog:off",
      option("pidfile", files.pid),
      option("log-file", files.log),
      option("unixctl", files.control),
      "--remote=punix:" + files.socket.string(),
      "--remote=db:Homeport,Global,connections",
  };
  // Listeners, and a single server's TLS files, are rows of the database: they survive a restart of
  // the server. One that has yet to find its cluster has no rows.
  if (options.cluster) {
    const auto& tls = options.cluster->files;
    command.insert(command.end(),
                   {option("private-key", tls.private_key), option("certificate", tls.certificate),
                    option("ca-cert", tls.ca_certificate)});
  } else {
    command.insert(command.end(), {"--private-key=db:Homeport,SSL,private_key",
                                   "--certificate=db:Homeport,SSL,certificate",
                                   "--ca-cert=db:Homeport,SSL,ca_cert"});
  }
  command.push_back(files.database.string());
  auto started = run_tool_successfully(std::move(command));
  if (!started) {
    return policy::with_context("the database server did not start, see " + files.log.string(),
                                started.error());
  }
  return {};
}

}  // namespace

policy::Result<DatabaseServer> init_database(const DatabaseServerOptions& options) {
  std::error_code error;
  auto folder = fs::absolute(options.directory, error);
  Files files(folder);
  if (auto checked = check_options(options, files); !checked) return checked.error();
  auto found = membership(files.database);
  if (!found) return found.error();
  if (auto checked = check_cluster(options, files.database, *found); !checked) {
    return checked.error();
  }
  if (*found == Membership::joining) {
    // The servers to join are written into the file: they may be others now.
    if (auto stopped = stop_database(folder); !stopped) return stopped.error();
    fs::remove(files.database, error);
  }
  const bool running = answers(files.socket);
  if (!running) {
    if (auto free = check_listeners(options); !free) return free.error();
  }
  if (fs::create_directories(folder, error)) {
    fs::permissions(folder, fs::perms(0750), error);
  }
  if (error)
    return policy::errno_error("cannot make the directory " + folder.string(), error.value());

  DatabaseServer server;
  server.unix_remote = "unix:" + files.socket.string();
  auto created = make_database(options, files);
  if (!created) return created.error();
  server.created = *created;
  if (!running) {
    if (auto started = start_server(options, files); !started) return started.error();
    server.started = true;
  }
  if (options.cluster) {
    auto in_touch = wait_for_cluster(options, server.unix_remote, files.log);
    if (!in_touch) return in_touch.error();
    server.joined = true;
  }
  auto rows = write_server_rows(server.unix_remote, options.tls, options.cluster.has_value());
  if (!rows) return rows.error();
  server.tls_port = rows->tls_port;

  server.summary = fmt::format(
      "{} {}.", server.created ? "Created the database" : "The database is there already:",
      files.database.string());
  server.summary +=
      fmt::format(" The server {} at {}.",
                  server.started ? "was started and listens" : "runs already", server.unix_remote);
  if (server.joined) {
    server.summary += fmt::format(" It is a server of a cluster, which reaches it at {}.",
                                  to_string(options.cluster->local));
  }
  if (rows->rights_changed) server.summary += " The rights of hosts were written.";
  if (server.tls_port) {
    server.summary +=
        fmt::format(" Hosts {} at TLS port {}.", rows->listener_changed ? "now connect" : "connect",
                    *server.tls_port);
  }
  if (!server.created && !server.started && !rows->rights_changed && !rows->listener_changed) {
    server.summary += " Nothing had to be changed.";
  }
  return server;
}

policy::Result<bool> stop_database(const fs::path& directory) {
  std::error_code error;
  Files files(fs::absolute(directory, error));
  pid_t pid = 0;
  std::ifstream(files.pid) >> pid;
  if (pid <= 0) return false;
  // The handle first, then the question whose process it is: a number may be used again.
  int handle = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (handle < 0 && errno == ESRCH) return false;
  if (handle < 0) return policy::errno_error(fmt::format("cannot open process {}", pid));
  const std::string command = overlay::read_proc(fmt::format("/proc/{}/cmdline", pid));
  policy::Result<bool> result = false;
  if (command.find(files.database.string()) != std::string::npos) {
    result = true;
    pollfd ended{handle, POLLIN, 0};
    if (syscall(SYS_pidfd_send_signal, handle, SIGTERM, nullptr, 0) != 0 && errno != ESRCH) {
      result = policy::errno_error(fmt::format("cannot stop ovsdb-server, process {}", pid));
    } else if (poll(&ended, 1, kStopTimeoutMs) != 1) {
      result = policy::make_error(
          errc::timed_out, fmt::format("ovsdb-server, process {}, has not ended {} s after it "
                                       "was told to",
                                       pid, kStopTimeoutMs / 1000));
    }
  }
  close(handle);
  return result;
}

}  // namespace homeport::agent
