// The one thread of the process that runs the OVS libraries' poll loop.
//
// The libraries keep per-thread loops but process-wide globals (TLS, logging, signal handling) and
// believe themselves single-threaded until they start threads of their own; so whatever uses them
// shares this thread. It is started with the first user and ends with the last.
#pragma once

#include "overlay/ovsdb/session.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace homeport::overlay::ovsdb {

/// What takes turns on the thread; its functions are called there only.
class LoopClient {
 public:
  virtual ~LoopClient() = default;
  /// Does what can be done without blocking; true when there is more to do at once.
  virtual bool run() = 0;
  /// Announces to the poll loop what to wait for.
  virtual void wait() = 0;
  /// The last turn: gives back what belongs to the thread.
  virtual void close() = 0;
};

class OvsThread {
 public:
  /// The process's thread, started now if nobody has it.
  static std::shared_ptr<OvsThread> get();
  ~OvsThread();

  /// What the library said last about a connection that it cannot make or has lost, for a person;
  /// empty when it never did since it was forgotten. Of the whole process, from any thread.
  static std::string complaint();
  static void forget_complaint();

  /// Throws boost::system::system_error when the files cannot be read or another identity is in
  /// use.
  void use_tls(const TlsFiles& files);
  /// Runs `task` on the thread, soon, in the order posted.
  void post(std::function<void()> task);
  /// Runs `task` on the thread and waits for it; throws what it throws. Not from the thread itself.
  void call(const std::function<void()>& task);
  void add(std::shared_ptr<LoopClient> client);
  /// Returns once the client is closed.
  void remove(const std::shared_ptr<LoopClient>& client);
  /// Passes on what the library has logged so far; on the thread only.
  void drain_log();

 private:
  OvsThread();
  void loop();
  void run_tasks();

  int wake_fd_ = -1;  ///< eventfd
  std::mutex mutex_;  ///< Guards tasks_ and nothing else.
  std::vector<std::function<void()>> tasks_;
  // The thread's own:
  bool stop_ = false;
  std::vector<std::shared_ptr<LoopClient>> clients_;
  std::string log_rest_;  ///< The part of a log line whose end has not been written yet.
  std::thread thread_;
};

}  // namespace homeport::overlay::ovsdb
