// A thread with an executor of its own, for work that must not delay the control thread.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <thread>

namespace homeport::agent {

class Worker {
 public:
  Worker() : thread_([this] { context_.run(); }) {}
  ~Worker() { stop(); }

  boost::asio::io_context::executor_type executor() { return context_.get_executor(); }

  /// Leaves what is queued undone. May be called twice.
  void stop() {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
      boost::asio::make_work_guard(context_);
  std::thread thread_;
};

}  // namespace homeport::agent
