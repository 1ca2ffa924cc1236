// homeportd for tests: holds a move at the step that the file "hold" in the directory
// HOMEPORT_HOLD_IN names, once. It makes the file "held" there to say that it has come, and goes on
// when that file is gone.
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "agent/run.h"

namespace {

namespace asio = boost::asio;

asio::awaitable<void> hold_at(std::filesystem::path directory, std::string_view point) {
  const auto wanted = directory / "hold", held = directory / "held";
  std::string step;
  if (!(std::ifstream(wanted) >> step) || step != point) co_return;
  std::filesystem::rename(wanted, held);
  asio::steady_timer timer(co_await asio::this_coro::executor);
  while (std::filesystem::exists(held)) {
    timer.expires_after(std::chrono::milliseconds(5));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* directory = std::getenv("HOMEPORT_HOLD_IN");
  if (directory == nullptr) return homeport::agent::run_agent(argc, argv, {});
  return homeport::agent::run_agent(
      argc, argv, [directory](std::string_view point) { return hold_at(directory, point); });
}
