// Threads with an executor of their own, for work that must not delay the control thread.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <thread>
#include <vector>

namespace homeport::agent {

class Worker {
 public:
  /// With more than one thread its users bring strands.
  explicit Worker(std::size_t threads = 1) {
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { context_.run(); });
  }
  ~Worker() { stop(); }

  boost::asio::io_context::executor_type executor() { return context_.get_executor(); }

  /// Leaves what is queued undone. May be called twice.
  void stop() {
    context_.stop();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
      boost::asio::make_work_guard(context_);
  std::vector<std::thread> threads_;
};

}  // namespace homeport::agent
