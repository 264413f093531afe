//! The two ways of records, from file to socket in the kernel and through a buffer, do the same.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use host::{
    ByteStream, File, Files, Host,
    files::Disk,
    sim::{SeededRandom, SimFiles},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    config::Config,
    security::{Principal, listeners::Plan},
    server::deadline::Deadline,
    state::{State, folders::Folder, partition::Records},
};

/// More than the buffers of two sockets take.
const LEN: usize = 24 << 20;

/// Here the kernel sends the file.
async fn sockets() -> (Box<dyn ByteStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (Box::new(near.unwrap()), far.unwrap().0)
}

fn on_disk() -> Arc<dyn File> {
    let folder = tempfile::tempdir().unwrap();
    Disk.open(&folder.path().join("log")).unwrap()
}

fn in_memory() -> Arc<dyn File> {
    let files = SimFiles::default();
    files.create_dir_all(Path::new("/")).unwrap();
    files.open(Path::new("/log")).unwrap()
}

fn connection(stream: Box<dyn ByteStream>) -> Connection {
    let files = SimFiles::default();
    files.create_dir_all(Path::new("/data")).unwrap();
    let lock = files.lock(Path::new("/data/.lock")).unwrap().unwrap();
    let host = Host {
        files: Arc::new(files),
        random: Arc::new(SeededRandom::new(7)),
        ..Host::real()
    };
    let mut config = Config::new("127.0.0.1:0", "/data");
    config.write_timeout = Duration::from_millis(300);
    let plan = Plan::all(&config).unwrap().remove(0);
    let listener = plan.opened(1, ([127, 0, 0, 1], 9092).into());
    let state = Arc::new(State::open(host, config, vec![lock]).unwrap());
    Connection {
        stream,
        write_deadline: Deadline::new(&state.host.clock, Duration::ZERO),
        client_host: String::new(),
        principal: Arc::new(Principal::anonymous()),
        session: None,
        listener: Arc::new(listener),
        state,
    }
}

/// Records from byte 7 on between two other pieces.
fn answer(file: &Arc<dyn File>) -> Answer {
    let slice = Slice {
        file: Arc::clone(file),
        position: 7,
        len: LEN as u64,
        next: 0,
    };
    let home = Arc::new(Folder::new(Path::new("/data")));
    Answer(vec![
        Piece::Bytes("head".into()),
        Piece::Records(Records { slice, home }),
        Piece::Bytes("tail".into()),
    ])
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 / 5) as u8).collect()
}

#[tokio::test]
async fn records_go_out_whole() {
    for file in [on_disk(), in_memory()] {
        let all = bytes(LEN + 9);
        file.write_all_at(&all, 0).unwrap();
        let (near, mut far) = sockets().await;
        let mut connection = connection(near);
        let room = connection.state.answers.room();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            heard
        });
        connection.say_some(Some(answer(&file))).await.unwrap();
        assert_eq!(connection.state.answers.room(), room);
        drop(connection);
        let expected = [b"head", &all[7..LEN + 7], b"tail"].concat();
        assert!(heard.await.unwrap() == expected);
    }
}

/// Small parts and large ones in any order.
#[tokio::test]
async fn parts_stay_in_their_order() {
    for file in [on_disk(), in_memory()] {
        let all = bytes(2_000_000);
        file.write_all_at(&all, 0).unwrap();
        let (near, mut far) = sockets().await;
        let mut connection = connection(near);
        let home = Arc::new(Folder::new(Path::new("/data")));
        let (mut pieces, mut expected) = (Vec::new(), Vec::new());
        for number in 0..400u64 {
            let head = Bytes::from(number.to_be_bytes().repeat(1 + number as usize % 9));
            // Few, and now and then many.
            let (position, len) = (number * 3, number * number % (2 * FEW));
            let slice = Slice {
                file: Arc::clone(&file),
                position,
                len,
                next: 0,
            };
            expected.extend_from_slice(&head);
            expected.extend_from_slice(&all[position as usize..(position + len) as usize]);
            pieces.push(Piece::Bytes(head));
            pieces.push(Piece::Records(Records {
                slice,
                home: Arc::clone(&home),
            }));
        }
        pieces.push(Piece::Bytes(Bytes::from(all.clone())));
        expected.extend_from_slice(&all);
        let said = async move {
            let said = connection.say_some(Some(Answer(pieces))).await;
            drop(connection);
            said
        };
        let mut heard = Vec::new();
        let (said, read) = tokio::join!(said, far.read_to_end(&mut heard));
        said.and(read).unwrap();
        assert!(heard == expected);
    }
}

/// What is missing is not made up.
#[tokio::test]
async fn a_file_that_is_cut_off_ends_the_connection() {
    for file in [on_disk(), in_memory()] {
        let all = bytes(LEN / 2);
        file.write_all_at(&all, 0).unwrap();
        let (near, mut far) = sockets().await;
        let mut connection = connection(near);
        let said = async move {
            let said = connection.say_some(Some(answer(&file))).await;
            drop(connection);
            said
        };
        let mut heard = Vec::new();
        let (said, read) = tokio::join!(said, far.read_to_end(&mut heard));
        assert_eq!(said.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        read.unwrap();
        let expected = [b"head", &all[7..]].concat();
        assert!(expected.starts_with(&heard) && heard.len() > LEN / 4);
    }
}

#[tokio::test]
async fn whoever_takes_nothing_is_cut_off() {
    for file in [on_disk(), in_memory()] {
        file.set_len(LEN as u64 + 7).unwrap();
        let (near, _far) = sockets().await;
        let mut connection = connection(near);
        let room = connection.state.answers.room();
        let state = Arc::clone(&connection.state);
        let begun = std::time::Instant::now();
        let said = tokio::spawn(async move { connection.say_some(Some(answer(&file))).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(
            room - state.answers.room() <= 8 + TOGETHER as u64,
            "records are not held"
        );
        let error = said.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
